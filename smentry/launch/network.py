"""What the libraries of a distributed program are told about the network. It does not know who starts the program."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smentry.launch.cluster import Cluster

RDMA = frozenset(
    (
        "ml.p4d.24xlarge",
        "ml.p4de.24xlarge",
        "ml.p5.48xlarge",
        "ml.p5e.48xlarge",
        "ml.trn1.32xlarge",
        "ml.p6e-gb200.36xlarge",
    )
)
"""Instance types for which the training toolkit has EFA's RDMA used (its SM_EFA_RDMA_INSTANCES)."""

EFA = RDMA | {"ml.g4dn.8xlarge", "ml.g4dn.12xlarge", "ml.g5.48xlarge", "ml.p3dn.24xlarge"}
"""Instance types for which it has EFA used (its SM_EFA_NCCL_INSTANCES)."""


def variables(cluster: Cluster, environment: Mapping[str, str]) -> dict[str, str]:
    """What NCCL, Gloo and libfabric are to be told on this cluster; nothing that `environment` has.

    The interface for Gloo is not the training toolkit's: without it Gloo takes the one that the host's own name leads to, which
    may be the loopback. A single host is left to that, for it may have no other.
    """
    told = {}
    if cluster.interface:
        told["NCCL_SOCKET_IFNAME"] = cluster.interface
        if len(cluster.hosts) > 1:
            told["GLOO_SOCKET_IFNAME"] = cluster.interface
    if cluster.instance_type in EFA:
        told["FI_PROVIDER"] = "efa"
        told["NCCL_PROTO"] = "simple"  # EFA delivers out of order, and NCCL's other protocols do not expect that
    if cluster.instance_type in RDMA:
        told["FI_EFA_USE_DEVICE_RDMA"] = "1"
        told["RDMAV_FORK_SAFE"] = "1"
    return {name: value for name, value in told.items() if name not in environment}
