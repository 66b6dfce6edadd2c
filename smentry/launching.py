"""A launcher in the place of a job's program, where one is asked for. It knows no launcher's options, and starts nothing."""

from __future__ import annotations

from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smentry.config import Settings
    from smentry.job import Job
    from smentry.sagemaker.layout import Layout
    from smentry.sagemaker.program import Found


def launch(job: Job, found: Found, settings: Settings, tree: Layout, *, is_there: bool) -> None:
    """Have a launcher start the program of a training job, if one is to. Raises RefusedError.

    The command is made once the program `is_there`: where its code is still to be fetched, only who asked for what is worked out.
    """
    from smentry.sagemaker import environ, inputs, program

    parameters = inputs.hyperparameters(tree)
    if settings.launcher == "auto" and not any(parameters.get(name) for name in environ.DISTRIBUTED):
        return  # as most jobs, without loading more
    from smentry.sagemaker import distribution

    choice = distribution.Choice(
        settings.launcher,
        settings.launcher_processes,
        settings.launcher_options,
        launcher_from=settings.where("launcher"),
        processes_from=settings.where("launcher_processes"),
        options_from=settings.where("launcher_options"),
    )
    job.spread = spread = distribution.spread(found, choice, tree, job.environment)
    if settings.launcher == "auto" and spread is None:
        _warn(job, found, [name for name in distribution.UNLAUNCHED if parameters.get(name)])
    if spread is None or not is_there:
        return
    from smentry.launch import asked, choose

    if job.identity and spread.asked.kind == asked.MPIRUN and len(spread.cluster.hosts) > 1:
        raise RefusedError(
            f"{settings.where('user')}: mpirun over several hosts wants sshd, which only root can start: expected no user with"
            f" {spread.asked.origin}"
        )
    launched = choose.command(spread.asked, spread.cluster, job.argv, job.environment)
    job.argv = launched.argv
    job.path = launched.path
    for name, value in launched.environment.items():
        job.environment[name] = value
        job.added.append(name)
    # A command's own name is that of its Python, which says nothing.
    job.label = launched.label if found.kind == program.COMMAND else f"{launched.label} {job.label}"
    job.found += f"; {launched.label} starts it, {spread.text}"
    job.warnings.extend([line for line in spread.warnings if line not in job.warnings])


def _warn(job: Job, found: Found, names: list[str]) -> None:
    for name in names:
        line = (
            f"hyperparameter {name} is for AWS's own TensorFlow images, which set TF_CONFIG and may start parameter servers:"
            f" smentry starts {found.label} by itself on each host"
        )
        if line not in job.warnings:
            job.warnings.append(line)
