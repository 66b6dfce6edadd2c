"""Each way to fail, in a container of its own: what the platform is told, and that docs/contract.md shows just that."""

from __future__ import annotations

import html
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .containers import ROOT, Container, Engine, docker
from .failures import ALL, Failure, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs/contract.md"
BEGIN, END = "<!-- failures: begin -->\n", "<!-- failures: end -->\n"
AT_ONCE = 5


class Outcome(NamedTuple):
    """What came of a failure: the exit code, the text for the platform, what was written, and the seconds of the stop."""

    code: int
    text: str
    output: str
    seconds: float


@pytest.fixture(scope="module")
def outcomes(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """Every failure, and what came of it."""
    directory = tmp_path_factory.mktemp("failures")
    engine = Engine(image, directory)
    prepared = [(failure, *arranged(engine, failure, directory / f"ml{at}")) for at, failure in enumerate(ALL)]
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            came = pool.map(lambda entry: happen(*entry), prepared)
            yield {failure.name: outcome for failure, outcome in zip(ALL, came)}
    finally:
        engine.close()


def arranged(engine: Engine, failure: Failure, base: Path) -> tuple[list[str], Container, Path]:
    """The words after `docker run` for a failure, its container, and the file for the platform."""
    lay_out(failure, base)
    options = ["--volume", f"{base}:/opt/ml", *failure.options]
    if failure.config:
        (base / "smentry.yaml").write_text(failure.config, encoding="utf-8")
        options += ["--volume", f"{base}/smentry.yaml:/etc/smentry.yaml:ro"]
    words, name, state = engine.command(*failure.command, options=options, environment=failure.variables)
    return words, Container(name, state), base / failure.file


def happen(failure: Failure, words: list[str], container: Container, file: Path) -> Outcome:
    """Let it happen."""
    docker("run", "--detach", *words)
    if failure.stop:
        container.ready()
        container.stop(30)
    else:
        container.end()
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return Outcome(container.code, text, container.output, container.seconds)


@pytest.mark.parametrize("failure", ALL, ids=str)
def test_the_platform_is_told_what_a_person_needs(failure: Failure, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[failure.name]
    assert outcome.code == failure.code, outcome.output
    assert 0 < len(outcome.text) <= 1024, outcome.output
    for words in failure.says:
        assert words in outcome.text, outcome.output
    for words in failure.never:
        assert words not in outcome.text
    assert outcome.seconds < 25  # the engine's own kill comes after 30


def test_the_first_line_is_an_error_in_the_log_where_it_says_more_than_the_exit_code(
    outcomes: dict[str, Outcome],
) -> None:
    first = outcomes["an exception"].text.splitlines()[0]
    assert f"]: error: {first}\n" in outcomes["an exception"].output
    assert "error: " not in outcomes["an exit code and nothing else"].output


def test_the_page_shows_what_came_of_each(image: str, outcomes: dict[str, Outcome]) -> None:
    """Or, with $SMENTRY_WRITE_FAILURES, it does from now on (`make failures`)."""
    version = docker(
        "run", "--rm", "--entrypoint", "python3", image, "-c", "import sys; print(*sys.version_info[:2], sep='.')"
    )
    made = (
        f"\nEach of these was run in a container, by `make failures`; the Python in the image was {version.stdout.strip()}.\n"
        + table(outcomes)
    )
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    shown, end, after = rest.partition(END)
    assert begin
    assert end
    if os.environ.get("SMENTRY_WRITE_FAILURES"):
        PAGE.write_text(before + BEGIN + made + END + after, encoding="utf-8")
    elif made.splitlines()[1] != (shown.splitlines() or ["", ""])[1]:
        pytest.skip(f"the page was made with another Python: {made.splitlines()[1]}")
    else:
        assert alike(shown) == alike(made), "make failures writes the table"


def table(outcomes: dict[str, Outcome]) -> str:
    """The table of docs/contract.md: what happens, the exit code, and the whole text."""
    lines = ["", "| what happens | exit code | the failure text |", "| --- | --- | --- |"]
    for failure in ALL:
        outcome = outcomes[failure.name]
        lines.append(f"| {failure.name} | {outcome.code} | {'<br>'.join(map(code, outcome.text.splitlines()))} |")
    return "\n".join([*lines, "", ""])


def code(line: str) -> str:
    """A line as it stands, within a cell of a table."""
    indent = len(line) - len(line.lstrip(" "))
    shown = html.escape(line.lstrip(" "), quote=False).replace("|", "&#124;")
    return f"<code>{'&nbsp;' * indent}{shown}</code>"


def alike(text: str) -> str:
    """A text without what each run and each machine has of its own: times, sizes, pids, addresses, lines of Python itself."""
    for pattern, instead in (
        (r"\b\d+(\.\d+)? (s|min|MiB|GiB)\b", "N"),
        (r"\(\d+\)|\bpid \d+|0x[0-9a-f]+|\b\d+ Segmentation fault *", "N"),
        (r"(/usr/[^\"]*\", line )\d+", r"\1N"),
    ):
        text = re.sub(pattern, instead, text)
    return text
