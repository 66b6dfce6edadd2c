"""What the user can put right: a line of text and the exit code that goes with it. It knows no causes."""

from __future__ import annotations

USAGE, NOT_EXECUTABLE, NOT_FOUND = 2, 126, 127


class RefusedError(Exception):
    """Nothing is started. `message` is one line: what was got, what was expected, what to do.

    `code` is smentry's exit code; `details` are further lines, such as the places that were looked at.
    """

    def __init__(self, message: str, code: int = USAGE, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details
