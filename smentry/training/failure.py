"""Why the program failed, where the platform looks for it. It does not know what failed, nor does it end anything."""

from __future__ import annotations

import os

LIMIT = 1024
"""Characters that become FailureReason, or a processing job's ExitMessage; what is longer is cut."""


def report_failure(text: str | BaseException) -> bool:
    """Say why the job failed; whether this is what the platform will read.

    Writes `output/failure` under SAGEMAKER_BASE_DIR or /opt/ml, `output/message` for a processing job: whole, in one step,
    and once. The first report counts, of all processes on the host: what fails after it is a consequence more often than
    not. False where another was first, where `text` is empty, where there is no base directory (on a developer's machine
    nothing is made), and where it cannot be written. Never raises: it is for an `except` block, which then raises anew.

    Of an exception its type and its message are written. The first 1024 characters count.
    """
    try:
        if isinstance(text, BaseException):
            said = str(text)
            text = f"{type(text).__name__}: {said}" if said else type(text).__name__
        return bool(text.strip()) and _write(text[:LIMIT].encode("utf-8", "replace"))
    except Exception:
        return False


def _write(data: bytes) -> bool:
    base = os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"
    if not os.path.isdir(base):
        return False
    is_processing = not os.path.isdir(os.path.join(base, "input/config")) and os.path.exists(
        os.path.join(base, "config/processingjobconfig.json")
    )
    directory, name = os.path.join(base, "output"), "message" if is_processing else "failure"
    try:
        os.mkdir(directory)  # and not what is above it
    except FileExistsError:
        pass
    beside = os.path.join(directory, f".{name}.{os.urandom(4).hex()}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return _put(beside, os.path.join(directory, name))
    finally:
        try:
            os.unlink(beside)
        except OSError:
            pass


def _put(beside: str, path: str) -> bool:
    """Give the file that is written its name, unless something is said there already. Raises OSError."""
    try:
        os.link(beside, path)  # unlike rename(2) it replaces nothing
        return True
    except FileExistsError:
        pass
    except OSError:
        if os.path.lexists(path):  # a file system without links
            return False
        os.rename(beside, path)
        return True
    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > 0:
        return False
    os.rename(beside, path)  # whoever opened it to say why, and died, has said nothing
    return True
