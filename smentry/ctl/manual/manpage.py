"""The manual page of a program in roff, as man(7) has it. It knows no program."""

from __future__ import annotations

import argparse
import re
import textwrap

import smentry
from smentry.ctl.manual.description import verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smentry.ctl.manual.description import Description, Rows


_ESCAPES = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_WIDTH = 72


def page(described: Description, date: str) -> str:
    """The page, of the section 1. `date` is written into its foot: 2024-05-31."""
    return "".join(f"{line}\n" for line in _lines(described, date))


def _lines(described: Description, date: str) -> Iterator[str]:
    parser = described.parser
    name = parser.prog
    yield f'.TH {name.upper()} 1 {date} "smentry {smentry.__version__}" "User Commands"'
    yield from (".nh", ".ad l")  # what is typed is neither parted nor stretched
    yield ".SH NAME"
    yield f"{name} \\- {_text(described.summary)}"
    yield ".SH SYNOPSIS"
    for number, usage in enumerate(described.usage):
        yield from [".br"] if number else []
        yield from map(_usage, textwrap.wrap(usage, _WIDTH, break_long_words=False, break_on_hyphens=False))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(described.paragraphs)
    yield from _arguments(parser, ".SH OPTIONS")
    commands = verbs(parser)
    if commands:
        yield ".SH VERBS"
    for verb, command in commands.items():
        yield f".SS {_text(verb)}"
        yield from _paragraphs(text for text in (command.description, command.epilog) if text)
        yield from _arguments(command, "")
    yield from _rows("EXIT STATUS", described.exit_codes)
    yield from _rows("ENVIRONMENT", described.environment)
    yield from _rows("FILES", described.files)
    yield ".SH SEE ALSO"
    for number, other in enumerate(described.see_also, 1):
        title, _, section = other.rstrip(")").partition("(")
        yield f".BR {_text(title)} ({section}){',' if number < len(described.see_also) else ''}"


def _usage(usage: str) -> str:
    """A line of usage: what is typed as it stands in bold, what is filled in in italics."""
    return re.sub(r"[A-Z][A-Z0-9]+", lambda found: f"\\fI{found[0]}\\fP", _text(usage))


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    """Paragraphs, which have a blank line between them. One that is indented stands as it is."""
    paragraphs = [part for text in texts for part in re.split(r"\n\s*\n", text.strip("\n")) if part.strip()]
    for number, paragraph in enumerate(paragraphs):
        yield from [".PP"] if number else []
        if paragraph.startswith(" "):
            yield from (".RS 4", ".nf", *map(_text, textwrap.dedent(paragraph).splitlines()), ".fi", ".RE")
        else:
            yield from _sentences(paragraph)


def _sentences(text: str) -> Iterator[str]:
    """Each sentence on lines of its own, for roff takes a full stop at the end of a line for the end of a sentence."""
    for sentence in re.split(r"(?<=[.:;])\s+", " ".join(text.split())):
        yield from map(_text, textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _arguments(parser: argparse.ArgumentParser, heading: str) -> Iterator[str]:
    actions = [action for action in parser._actions if _is_shown(action, own=bool(heading))]
    if actions and heading:
        yield heading
    for action in sorted(actions, key=lambda action: not action.option_strings):
        yield ".TP"
        value = "" if action.nargs == 0 else _value(action)
        names = [f"\\fB{_text(name)}\\fP" for name in action.option_strings]
        if names:
            yield ", ".join(names) + (f" \\fI{_text(value)}\\fP" if value else "")
        else:
            yield f"\\fI{_text(value)}\\fP"
        yield from _sentences(_help(parser, action))


def _is_shown(action: argparse.Action, *, own: bool) -> bool:
    """Whether an option is listed; -h only among the program's own."""
    if isinstance(action, argparse._HelpAction):
        return own
    return action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    return formatter._expand_help(action) if action.help else ""


def _value(action: argparse.Action) -> str:
    """What stands for the argument's value: its metavar, else its choices, else its name."""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar:
        return action.metavar
    if action.choices:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _rows(heading: str, rows: Rows) -> Iterator[str]:
    if rows:
        yield f".SH {heading}"
    for what, said in rows:
        yield ".TP"
        yield f"\\fB{_text(what)}\\fP"
        yield from _sentences(said)


def _text(text: str) -> str:
    """Text in which nothing is an escape or a request, and everything is ASCII: groff_char(7)."""
    text = "".join(_ESCAPES.get(c, c if c < "\x7f" else f"\\[u{ord(c):04X}]") for c in text)
    return f"\\&{text}" if text.startswith(".") else text
