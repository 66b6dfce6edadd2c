"""Installing what a program requires with the pip of the program's own Python, which a child process becomes."""

from __future__ import annotations

import os

from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smentry.sagemaker.program import Found

FILE = "requirements.txt"
ARN = "CA_REPOSITORY_ARN"
"""The variable that names a repository of AWS CodeArtifact, as in the training toolkit."""

_DEFAULTS = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PYTHONUNBUFFERED": "1",
}
"""What pip is told where nobody tells it otherwise: its output is a log, and root is who containers run as."""


def install(find: Callable[[], Found], environment: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Become the pip that installs what the program requires; return an exit code where there is nothing to do, or no pip."""
    try:
        found = find()
    except RefusedError:
        return 0  # the start of the program says it, and what was looked at
    what = _what(found)
    if not what:
        return 0
    python, directory = found.python, found.project or found.directory or "."
    # Not with the PYTHONPATH that the program gets: what lies beside it may have the name of a module that pip wants.
    marks = {name: value for name, value in os.environ.items() if name.startswith("SMENTRY_")}
    variables = {**_DEFAULTS, **environment, **marks}
    if not _has_pip(python, variables):
        say(
            f"{python} has no pip to install {' '.join(what)} in {directory} with: put pip into the image"
            f" ({python} -m ensurepip), or give --requirements ignore"
        )
        return 1
    arn = environment.get(ARN)
    if arn:
        from smentry.sagemaker import codeartifact
        from smentry.sagemaker.download import DownloadError

        try:
            variables["PIP_INDEX_URL"] = codeartifact.index(arn, environment)
        except DownloadError as error:
            say(f"{ARN}: {arn}: {error}")
            return 1
        say(f"packages come from {arn}")
    words = [python, "-m", "pip", "install", *what]
    say(f"in {directory}: {' '.join(words)}")
    try:
        os.chdir(directory)
        os.execve(python, words, variables)
    except OSError as error:
        say(f"cannot run {python} in {directory}: {(error.strerror or str(error)).lower()}")
        return 126


def _what(found: Found) -> list[str]:
    """What pip is to install: the package itself, the file of requirements, or both."""
    if not found.python:
        return []
    directory = found.project or found.directory or ""
    listed = ["-r", FILE] if os.path.isfile(os.path.join(directory, FILE)) else []
    return [".", *listed] if found.project else listed


def _has_pip(python: str, environment: Mapping[str, str]) -> bool:
    """Whether that Python can import pip, apart from what lies in the working directory."""
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.chdir("/")
            os.execve(python, [python, "-c", "import pip"], dict(environment))
        finally:
            os._exit(126)
    return os.waitpid(pid, 0)[1] == 0
