"""The failure file. It knows where and how long it may be, not what failed."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smentry.sagemaker.layout import Layout

LIMIT = 1024
"""Characters of the file that become the job's FailureReason."""


def write(layout: Layout, reason: str) -> bool:
    """Write the reason, cut to what the platform reads, where there is no failure file yet. Never raises.

    Returns whether it was written. What a program wrote itself is never replaced.
    """
    try:
        output = os.path.dirname(layout.failure)
        if not os.path.isdir(output):
            os.mkdir(output)  # and not what is above it: without a base directory there is no job to fail
        # O_EXCL: not over an existing file, and not through a link that leads elsewhere (open(2)).
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(layout.failure, flags, 0o644)
        try:
            os.write(descriptor, reason[:LIMIT].encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return False
    return True
