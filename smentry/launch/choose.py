"""Which launcher is meant by which name. It knows none of their options."""

from __future__ import annotations

from smentry.launch.asked import MPIRUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smentry.launch.asked import Asked
    from smentry.launch.cluster import Cluster
    from smentry.launch.launched import Launched


def command(asked: Asked, cluster: Cluster, words: list[str], environment: Mapping[str, str]) -> Launched:
    """The launcher's command for the program that `words` start on the current host. Raises RefusedError."""
    if asked.kind == MPIRUN:
        from smentry.launch import mpirun

        return mpirun.command(asked, cluster, words, environment)
    from smentry.launch import torchrun

    return torchrun.command(asked, cluster, words, environment)
