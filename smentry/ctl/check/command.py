"""The verb check: finds what is to be checked, has it checked, and leaves out what was asked to be left out. It knows no rule."""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from smentry.errors import USAGE, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from smentry.ctl.check.finding import Finding

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

FORMATS = ("text", "json", "github", "sarif")
FOUND = 1

_COMMENT = re.compile(r"#\s*smentry:\s*ignore=\s*(\w+(?:\s*,\s*\w+)*)")
_WHOLE_LINE = re.compile(r"\s*#")


def add(commands: Commands) -> None:
    """Add `check` to the parser."""
    parser = commands.add_parser(
        "check",
        help="find what would go wrong on the platform, before the job",
        description="Find in Dockerfiles, images, requests, scripts and smentry.yaml what would go wrong on the platform. "
        "Nothing is run.",
        epilog="Exit code: 0 nothing found, 1 something found, 2 something could not be read.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="PATH|IMAGE",
        help="a file, a directory with everything below it, or an image of the local engine; default: this directory",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="how findings are printed; default: text")
    parser.add_argument("--select", action="append", default=[], metavar="CODE", help="only this rule; repeatable")
    parser.add_argument("--ignore", action="append", default=[], metavar="CODE", help="not this rule; repeatable")
    parser.add_argument("--rules", action="store_true", help="list the rules, and check nothing")
    parser.add_argument("--explain", metavar="CODE", help="print a rule, and check nothing")
    parser.set_defaults(call=call)


def call(arguments: argparse.Namespace) -> int:
    """Check the targets and print what was found. Raises RefusedError for a code that is none."""
    from smentry.ctl.check import formats
    from smentry.ctl.check.rules import RULES

    if arguments.rules:
        print("".join(f"{rule.code}  {rule.title}\n" for rule in RULES.values()), end="")
        return 0
    if arguments.explain:
        print(formats.explained(RULES[_codes([arguments.explain])[0]]), end="")
        return 0
    selected, ignored = _codes(arguments.select), _codes(arguments.ignore)
    found: list[Finding] = []
    refused = False
    for target in arguments.targets or ["."]:
        for check, path in _checks(target):
            try:
                found += _kept(check(), path)
            except RefusedError as error:
                print(f"smentryctl: {error.message}", *error.details, sep="\n", file=sys.stderr)
                refused = True
    wanted = _once(found, lambda code: code not in ignored and (not selected or code in selected))
    print(formats.FORMATS[arguments.format](wanted), end="")
    return USAGE if refused else FOUND if wanted else 0


def _once(findings: Iterable[Finding], is_wanted: Callable[[str], bool]) -> list[Finding]:
    """The wanted ones in order, each once: a script may be found by itself, and through the Dockerfile that copies it."""
    return sorted({replace(finding, start=0) for finding in findings if is_wanted(finding.code)})


def _checks(target: str) -> Iterator[tuple[Callable[[], list[Finding]], Path | None]]:
    """What is to be called for a target, and the file it looks at: None for an image. The calls raise RefusedError."""
    from smentry.ctl.check import image, kinds

    path = Path(target)
    if os.path.isdir(target):
        for file in kinds.walk(path):
            try:
                kind = kinds.kind(file, asked=False)
            except OSError as error:
                yield _refusal(f"{file}: cannot be read: {_reason(error)}"), file
                continue
            if kind:
                yield _bound(kinds.CHECKS[kind], file), file
        return
    try:
        os.stat(target)
    except FileNotFoundError:
        if os.path.islink(target):
            yield (
                _refusal(f"{target}: cannot be read: the link leads to {os.readlink(target)}, which is not there"),
                None,
            )
        elif target.startswith((".", "/", "~")) or not image.could_be(target):
            yield _refusal(f"{target or repr(target)}: no such file or directory, and no name of an image"), None
        else:
            yield lambda: image.findings(target), None
        return
    except OSError as error:
        yield _refusal(f"{target}: cannot be read: {_reason(error)}"), None
        return
    try:
        # Else it is a FIFO, which may never have anything in it, or a device.
        kind = kinds.kind(path) if path.is_file() else ""
    except OSError as error:
        yield _refusal(f"{target}: cannot be read: {_reason(error)}"), path
        return
    if kind:
        yield _bound(kinds.CHECKS[kind], path), path
    else:
        expected = (
            "a directory, a Dockerfile, a request (JSON or YAML), a script, smentry.yaml, or an image of the engine"
        )
        yield _refusal(f"{target}: is nothing that can be checked: expected {expected}"), path


def _bound(check: Callable[[Path], list[Finding]], path: Path) -> Callable[[], list[Finding]]:
    def bound() -> list[Finding]:
        try:
            return check(path)
        except OSError as error:
            raise RefusedError(f"{path}: cannot be read: {_reason(error)}") from None

    return bound


def _refusal(message: str) -> Callable[[], list[Finding]]:
    def refuse() -> list[Finding]:
        raise RefusedError(message)

    return refuse


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _codes(words: Sequence[str]) -> list[str]:
    from smentry.ctl.check.rules import RULES

    codes = [code.strip().upper() for word in words for code in word.split(",")]
    for code in codes:
        if code not in RULES:
            raise RefusedError(f"no rule {code!r}: smentryctl check --rules lists them")
    return codes


def _kept(findings: Iterable[Finding], path: Path | None) -> list[Finding]:
    """Without those that a comment ignores. A finding may be in another file than was asked about: a script that is copied."""
    texts: dict[str, list[str]] = {}
    kept = []
    for finding in findings:
        if finding.file not in texts:
            texts[finding.file] = _lines(finding.file) if path and finding.line and path.suffix != ".json" else []
        if not finding.line or finding.code not in _ignored(texts[finding.file], finding):
            kept.append(finding)
    return kept


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _ignored(lines: Sequence[str], finding: Finding) -> set[str]:
    """The codes that comments on the finding's line, or right above it or its statement, ignore."""
    codes: set[str] = set()
    for number in {finding.line, finding.start or finding.line}:
        index = number - 1
        if number == finding.line and index < len(lines):
            codes |= _named(lines[index])
        index -= 1
        while 0 <= index < len(lines) and _WHOLE_LINE.match(lines[index]):
            codes |= _named(lines[index])
            index -= 1
    return codes


def _named(line: str) -> set[str]:
    found = _COMMENT.search(line)
    return {code.strip().upper() for code in found[1].split(",")} if found else set()
