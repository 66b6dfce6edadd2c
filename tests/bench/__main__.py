"""Measure every budget, show the table, write docs/performance.md; exit code 1 where a budget is missed."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from . import contenders, copying, crowd, idle, latency, listening, machine, orphans, startup
from .results import Row, as_markdown, as_text, table, unmeasured

NEED_COMPILER = ("latency", "orphans", "crowd")
GROUPS = ("startup", "idle", "copy", "tap", *NEED_COMPILER)


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="smentry-bench-") as directory:
        scratch = Path(directory)
        smentry = contenders.smentry(options.smentry or contenders.install(scratch))
        python = Path(smentry.prefix[0]).with_name("python")
        others, missing = contenders.others()
        facts = machine.description(python)
        rows = measure(options, smentry, others, python, scratch)
    facts["versions"] = ", ".join(f"{init.name} {init.version}" for init in (smentry, *others))
    if missing:
        facts["not installed"] = ", ".join(missing)

    named = [*(init.name for init in (smentry, *others)), "bare python", "no init", copying.CP, listening.CAT]
    lines = table(rows, [name for name in named if any(name in row.figures for row in rows)])
    print("\n".join(f"{what}: {fact}" for what, fact in facts.items()))
    print("\n" + as_text(lines))
    if options.output:
        options.output.write_text(page(facts, as_markdown(lines)))
    missed = [row.what for row in rows if row.met is False]
    print(f"\n{len(missed)} missed: {'; '.join(missed)}" if missed else "\nevery budget that was measured is met")
    return 1 if missed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, to try it out; writes no page")
    parser.add_argument("--only", choices=GROUPS, action="append", help="measure this group only; writes no page")
    parser.add_argument(
        "--smentry", type=Path, metavar="PATH", help="an installed smentry (default: install this tree)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the page in Markdown (default: docs/performance.md)"
    )
    options = parser.parse_args()
    if options.output is None and not (options.quick or options.only):
        options.output = contenders.ROOT / "docs/performance.md"
    return options


def measure(
    options: argparse.Namespace,
    smentry: contenders.Contender,
    others: list[contenders.Contender],
    python: Path,
    scratch: Path,
) -> list[Row]:
    """Every row, group by group."""
    few: bool = options.quick
    wanted = options.only or GROUPS
    program = contenders.compiled(scratch)
    rows: list[Row] = []
    if "startup" in wanted:
        rows += startup.measure(smentry, others, python, scratch, rounds=10 if few else 60)
    if "idle" in wanted:
        rows += idle.measure(smentry, others, scratch, rounds=1 if few else 3, seconds=2 if few else 10)
    if "copy" in wanted:
        files, size = (5000, 200 << 20) if few else (100_000, 4 << 30)
        rows += copying.measure(python, scratch, files=files, size=size, rounds=1 if few else 5)
    if "tap" in wanted:
        rows += listening.measure(smentry, scratch, size=(256 << 20) if few else (1 << 30), rounds=3 if few else 7)
    if program is None:
        return [
            *rows,
            *(unmeasured(group, "needs a C compiler (cc)") for group in NEED_COMPILER if group in wanted),
        ]
    if "latency" in wanted:
        rows += latency.measure(smentry, others, program, signals=300 if few else 2000)
    if "orphans" in wanted:
        count, rounds = (1000, 1) if few else (10_000, 5)
        rows += orphans.measure(smentry, others, program, count=count, rounds=rounds)
    if "crowd" in wanted:
        count, rounds = (500, 1) if few else (5000, 3)
        rows += crowd.measure(smentry, program, count=count, rounds=rounds)
    return rows


def page(facts: dict[str, str], markdown: str) -> str:
    """docs/performance.md."""
    described = "\n".join(f"- {what}: {fact}" for what, fact in facts.items())
    return f"""\
# Performance

Written by `make bench`: smentry, installed from its wheel, beside the inits it is compared with and a bare
interpreter of the same virtual environment, in turns, in one run. Figures are medians; the ratios count, the
absolute times are this machine's.

{described}

{markdown}

How each is measured:

- *Wall time*: from spawn to the end of the process. *Bare python* is `python -c pass`.
- *`smentry train` to exec*: from spawn to the first byte that a `#!/bin/sh` script of the channel `code`
  writes, so the shell's own start is part of it.
- *Signal in → handler*: from before `kill` to the first statement of a C program's handler. All inits run at
  the same time and get one signal each in turn, a millisecond apart. *No init*: sent to the program itself.
- *Orphans*: a C program forks twice for each, and waits until the init has no other child than the program.
- *Resident memory, wake-ups*: with `sleep` as the program; all inits idle at the same time. A wake-up is a
  context switch.
- *Copy*: the copy hook beside `cp -a`, from the start of the process to its end. *Synced*: `sync -f` comes after
  `cp`; the hook always syncs, and is measured without it for *written*.
- *Stderr through the tap*: from the first byte to the last at a reader of stderr; beside it the same bytes through `| cat`.
- *A stop*: from the decision (SIGTERM; the main process's end; the end of `linger`) to the end of smentry.
"""


if __name__ == "__main__":
    raise SystemExit(main())
