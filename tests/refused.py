"""A case of something wrong, and smentry run on it in a process of its own: one clear line, and nothing started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from container import Tree

if TYPE_CHECKING:
    from pathlib import Path


class Case(NamedTuple):
    """Something wrong, smentry's exit code for it, and what its one line must say."""

    name: str
    arguments: list[str]
    code: int
    says: tuple[str, ...]
    variables: dict[str, str] = {}  # noqa: RUF012 - never changed
    files: dict[str, Any] = {}  # noqa: RUF012
    config: str | bytes | None = None
    listed: bool = False

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def refuse(case: Case, directory: Path) -> None:
    """Run the case in a process of its own, and look at all that it may and may not do."""
    tree = Tree(directory)
    for path, content in case.files.items():
        tree.put(f"../{path}" if path.startswith("bin/") else path, content)
    variables = dict(case.variables)
    if case.config is not None:
        (directory / "bad.yaml").write_bytes(case.config if isinstance(case.config, bytes) else case.config.encode())
        variables["SMENTRY_CONFIG"] = str(directory / "bad.yaml")

    result = tree.refused(*[argument.format(bin=tree.bin, base=tree.base) for argument in case.arguments], **variables)

    assert result.code == case.code, result.err
    assert not tree.marker.exists()
    assert result.out == ""
    assert "Traceback" not in result.err
    assert result.lines[0].startswith("error: ")
    for words in case.says:
        assert words.replace("\\\\", "\\") in result.lines[0]
    assert len(result.lines) == 1 or (case.listed and all(line.startswith("error:   ") for line in result.lines[1:]))
    training = case.arguments[-1:] == ["train"] or (tree.base / "input/config").is_dir()
    if training and "SAGEMAKER_BASE_DIR" not in variables:
        assert tree.failure is not None
        assert result.lines[0].partition("error: ")[2][:80] in tree.failure
    else:
        assert tree.failure is None
