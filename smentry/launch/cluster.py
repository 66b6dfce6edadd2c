"""The hosts that one launch is spread over. It does not know what is launched on them."""

from __future__ import annotations


class Cluster:
    """The hosts in the order of their ranks, and the `current` one among them.

    `interface` is the network interface that they reach each other by, empty where nobody named it; `instance_type` such as
    `ml.p4d.24xlarge`, or `local`.
    """

    __slots__ = ("current", "hosts", "instance_type", "interface")

    def __init__(self, hosts: list[str], current: str, interface: str = "", instance_type: str = "local") -> None:
        self.hosts = hosts
        self.current = current
        self.interface = interface
        self.instance_type = instance_type

    @property
    def rank(self) -> int:
        """The current host's place among the hosts; 0 is the master."""
        return self.hosts.index(self.current)

    @property
    def master(self) -> str:
        """The host that the others meet at."""
        return self.hosts[0]
