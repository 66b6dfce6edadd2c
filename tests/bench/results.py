"""What was measured: a row for each budget, as a table in text and in Markdown. It measures nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass
class Row:
    """One line of the table. `figures`: contender → what is shown for it."""

    what: str
    unit: str
    figures: dict[str, str]
    measured: str = ""
    budget: str = ""
    met: bool | None = None
    """None where the row has no budget, or could not be measured."""
    why_not: str = ""

    @property
    def verdict(self) -> str:
        if self.met is None:
            return self.why_not or "-"
        return "PASS" if self.met else "MISS"


@dataclass
class Samples:
    """Repeated measurements of several contenders, taken in turns."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return median(self.values[name])

    def percentile(self, name: str, share: float) -> float:
        ordered = sorted(self.values[name])
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def medians(self, form: str) -> dict[str, str]:
        return {name: format(self.median(name), form) for name in self.values}


def ratio_row(what: str, unit: str, form: str, samples: Samples, *, to: str, at_most: float) -> Row:
    """A row whose budget is a ratio of medians: smentry's to that of the contender `to`."""
    row = Row(what, unit, samples.medians(form), budget=f"≤ {at_most} x {to}")
    if to in samples.values:
        ratio = samples.median("smentry") / samples.median(to)
        row.measured, row.met = f"{ratio:.2f} x {to}", ratio <= at_most
    else:
        row.why_not = f"{to} is not installed"
    return row


def bound_row(what: str, unit: str, form: str, samples: Samples, *, at_most: float) -> Row:
    """A row whose budget is a figure of its own."""
    value = samples.median("smentry")
    figures = samples.medians(form)
    measured, budget = f"{value:{form}} {unit}".strip(), f"≤ {at_most:g} {unit}".strip()
    return Row(what, unit, figures, measured, budget, value <= at_most)


def unmeasured(what: str, why_not: str) -> Row:
    """A row that this machine cannot measure."""
    return Row(what, "", {}, why_not=why_not)


def table(rows: list[Row], names: list[str]) -> list[list[str]]:
    """The rows as words, the heading first."""
    heading = ["what", *names, "measured", "budget", "verdict"]
    lines = [heading]
    for row in rows:
        what = f"{row.what}, {row.unit}" if row.unit else row.what
        figures = [row.figures.get(name, "") for name in names]
        lines.append([what, *figures, row.measured, row.budget, row.verdict])
    return lines


def as_text(lines: list[list[str]]) -> str:
    """The table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zip(line, widths))
        )
        for line in lines
    )


def as_markdown(lines: list[list[str]]) -> str:
    """The table in Markdown."""
    heading, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([heading, "| --- |" + " ---: |" * (len(lines[0]) - 1), *rest])
