"""The copy hook. It runs in a hook's own process: PID 1 itself never imports it."""

from smentry.copy.files import CopyError
from smentry.copy.replace import run

__all__ = ["CopyError", "run"]
