"""A launcher's command, and what goes with it. It does not know which launcher."""

from __future__ import annotations


class Launched:
    """What is executed in the place of the program: its words, and the file at `path`.

    `environment` holds what is to be set besides, `label` is the launcher's name for messages.
    """

    __slots__ = ("argv", "environment", "label", "path")

    def __init__(self, argv: list[str], path: str, environment: dict[str, str] | None = None, label: str = "") -> None:
        self.argv = argv
        self.path = path
        self.environment = environment or {}
        self.label = label
