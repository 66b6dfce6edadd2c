"""What was asked of a launcher, and by whom. It does not know how a launcher is told."""

from __future__ import annotations

NONE, TORCHRUN, MPIRUN = "none", "torchrun", "mpirun"


class Asked:
    """A launcher, TORCHRUN or MPIRUN, as `kind`; `processes` on each host, and further `options` of its own.

    `origin` says who asked for it, for a message: `--launcher`, `hyperparameter sagemaker_mpi_enabled`. `total` is the number of
    processes on all hosts, where that was set, else 0: only mpirun knows it.
    """

    __slots__ = ("kind", "options", "origin", "processes", "total")

    def __init__(
        self, kind: str, processes: int = 1, options: list[str] | None = None, origin: str = "", total: int = 0
    ) -> None:
        self.kind = kind
        self.processes = processes
        self.options = options or []
        self.origin = origin
        self.total = total
