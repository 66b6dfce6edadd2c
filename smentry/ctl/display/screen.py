"""Where the log goes: a terminal with a status line at its bottom, or plain lines. It knows no engine and decides nothing.

What is to be shown is only handed over; a thread writes it. So whoever watches over the time never waits for a reader, and a
reader who goes away ends nothing: the job goes on, and is stopped as it should be.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass

from smentry.ctl.display.lines import Lines, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from rich.live import Live
    from rich.text import Text

COLOURS = ("cyan", "magenta", "green", "yellow", "blue")
"""Of the hosts' names, in turn; red is what programs paint errors with."""

FRAME = 0.08
"""Seconds between two redraws of a terminal: everything that has come until then is written at once."""

LOOK = 0.25
"""Seconds between two looks for beginnings of lines that have waited for too long."""

MOST = 8 << 20
"""Characters that wait for a slow reader; then the hosts wait too, as a program in a pipe does."""

WIDEST = 1000
"""Characters of a line that has not ended, which are looked at for a row of the terminal."""

OURS = "smentryctl"


@dataclass(frozen=True)
class Status:
    """What the status line says. What is None is left out."""

    elapsed: float
    """Seconds."""
    limit: float | None = None
    """Seconds."""
    memory: int | None = None
    """Bytes, of all hosts."""
    memory_limit: int | None = None
    """Bytes; 0 or None where there is none."""
    cpu_percent: float | None = None
    """100 is one core."""
    phase: str = ""


def open_display(hosts: Sequence[str], *, stream: TextIO, colour: str = "auto") -> Display:
    """A display for these hosts. `colour`: auto, always or never; auto asks the stream, NO_COLOR (no-color.org) and TERM."""
    return Display(hosts, stream, colour)


class Display:
    """Shows what hosts write, line by line with the host's name, and how the job goes on. Safe to use from any thread.

    The status line, and lines that have not ended, are at the bottom of a terminal; elsewhere there is no status, and beginnings
    of lines are shown after a while. Close it, whatever happens.
    """

    def __init__(self, hosts: Sequence[str], stream: TextIO, colour: str = "auto") -> None:
        self._stream = stream
        terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
        self.colour = colour == "always" or (colour == "auto" and terminal and not os.environ.get("NO_COLOR"))
        """Whether colours are written."""
        self.shows_status = terminal
        """Whether there is a status line; without one nobody needs to measure anything for it."""
        self._ready(stream)
        self._lines = {host: Lines() for host in hosts}
        self._painted = self._prefixes(hosts)
        self._live = self._at_the_bottom() if terminal else None
        self._status: Status | None = None
        self._changed = threading.Condition()
        self._waiting: list[tuple[bool, str]] = []
        self._size = 0
        self._stale = self._closed = self._gone = False
        self._writer = threading.Thread(target=self._write_all, name="display", daemon=True)
        self._writer.start()

    # -- what is to be shown -----------------------------------------------------------------------

    def output(self, host: str) -> Callable[[bytes], None]:
        """Takes what a host writes, in pieces of any size: an engine's Output."""

        def take(data: bytes) -> None:
            with self._changed:
                lines = self._lines[host].feed(data, time.monotonic())
                self._put("".join(self._line(host, line) for line in lines))
                self._stale = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._size < MOST or self._gone or self._closed)

        return take

    def ended(self, host: str) -> None:
        """A host writes no more: what it has begun is a line."""
        with self._changed:
            self._put("".join(self._line(host, line) for line in self._lines[host].end()))

    def say(self, text: str) -> None:
        """Show smentryctl's own words: on stderr, or with the log where both are terminals."""
        said = "".join(f"{OURS}: {line}\n" for line in text.splitlines())
        with self._changed:
            self._put(said, own=self._live is None or not sys.stderr.isatty())

    def result(self, text: str) -> None:
        """Show text on the stream, as it is, after everything that the hosts have written."""
        with self._changed:
            for host in self._lines:
                self.ended(host)
            self._put(text if text.endswith("\n") else f"{text}\n")

    def status(self, status: Status | None) -> None:
        """What the status line says from now on; None: there is none."""
        with self._changed:
            self._status = status
            self._stale = True
            self._changed.notify_all()

    def close(self) -> None:
        """Show what is left, and leave the terminal as it was. Waits for who reads, unless nobody does any more."""
        for host in self._lines:
            self.ended(host)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._writer.join()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(self, host: str, text: str) -> str:
        return f"{self._painted[host]} {clean(text, colour=self.colour)}\n"

    def _put(self, text: str, own: bool = False) -> None:
        if text and (own or not self._gone):
            self._waiting.append((own, text))
            self._size += len(text)
            self._changed.notify_all()

    # -- the thread that writes --------------------------------------------------------------------

    def _write_all(self) -> None:
        over = False
        while not over:
            try:
                over = self._turn()
            except Exception as error:  # whatever it is, it is no reason for a job to wait for ever
                self._lose(error)
            with self._changed:
                self._size = sum(len(text) for _, text in self._waiting)
                self._changed.notify_all()

    def _turn(self) -> bool:
        """Wait for something to show, and show it; whether nothing comes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed or (self._stale and self._live), LOOK)
            if self._live is None:
                self._give_overdue()
            else:
                self._live.start()
                self._changed.wait_for(lambda: self._closed, FRAME)
            over, waiting = self._closed, self._waiting
            self._waiting, self._stale = [], False
            bottom = self._bottom() if self._live is not None else None
        self._write(waiting, bottom)
        if over and self._live is not None:
            self._live.stop()
        return over

    def _give_overdue(self) -> None:
        now = time.monotonic()
        for host, lines in self._lines.items():
            self._put("".join(self._line(host, line) for line in lines.overdue(now)))

    def _write(self, waiting: Sequence[tuple[bool, str]], bottom: Text | None) -> None:
        texts: list[str] = []
        for own, text in waiting:
            if own:
                self._show("".join(texts), None)
                texts.clear()
                _say(text)
            else:
                texts.append(text)
        self._show("".join(texts), bottom)

    def _show(self, text: str, bottom: Text | None) -> None:
        if self._gone:
            return
        if self._live is None:
            self._stream.write(text)
            self._stream.flush()
            return
        with self._live.console:  # all of it is one write
            if text:
                self._live.console.print(_Verbatim(text), soft_wrap=True)
            if bottom is not None:
                self._live.update(bottom, refresh=True)

    def _lose(self, error: Exception) -> None:
        """Nobody reads any more. What others print from now on goes nowhere, instead of ending the process with an error."""
        with self._changed:
            self._gone = True
            self._live = None
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            pass
        reason = "nobody reads it any more" if isinstance(error, BrokenPipeError) else str(error)
        _say(f"{OURS}: the log is not shown from here on: {reason}; everything else goes on\n")

    # -- what it looks like ------------------------------------------------------------------------

    @staticmethod
    def _ready(stream: TextIO) -> None:
        """A stream that takes every character, and waits for who reads."""
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        try:
            os.set_blocking(stream.fileno(), True)
        except (OSError, ValueError):
            pass  # a stream that is no file

    def _prefixes(self, hosts: Sequence[str]) -> dict[str, str]:
        """What comes before the lines of each host."""
        width = max(map(len, hosts), default=0)
        plain = {host: f"{host:<{width}} |" for host in hosts}
        if not self.colour:
            return plain
        from rich.style import Style

        styles = {host: Style(color=COLOURS[at % len(COLOURS)]) for at, host in enumerate(hosts)}
        return {host: styles[host].render(text) for host, text in plain.items()}

    def _at_the_bottom(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(
            file=self._stream,
            force_terminal=True,
            force_interactive=True,
            color_system="auto" if self.colour else None,
            no_color=not self.colour,
            legacy_windows=False,
        )
        return Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)

    def _bottom(self) -> Text:
        """The lines that have not ended, and the status, each cut to a row of the terminal."""
        from rich.text import Text

        assert self._live is not None
        size = os.get_terminal_size(self._stream.fileno())  # now; COLUMNS would be the size that it had
        rows = []
        for host, lines in self._lines.items():
            begun = clean(lines.begun[:WIDEST], colour=self.colour)
            if begun.strip():
                rows.append(Text.from_ansi(f"{self._painted[host]} {begun}"))
        rows = rows[-max((size.lines or 24) // 2, 1) :]
        if self._status is not None:
            rows.append(status_line(self._status))
        for row in rows:
            row.expand_tabs(8)
            # With room for ^C, which the terminal echoes there.
            row.truncate(max((size.columns or 80) - 3, 1), overflow="ellipsis")
        return Text("\n", no_wrap=True, end="").join(rows)


class _Verbatim:
    """Text that rich writes as it is, above what is live."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: object, options: object) -> object:
        from rich.segment import Segment

        yield Segment(self.text)


def status_line(status: Status) -> Text:
    """The status line, without a line's end."""
    from rich.text import Text

    facts = [clock(status.elapsed) + (f" of {clock(status.limit)}" if status.limit is not None else "")]
    if status.memory is not None:
        limit = f" of {amount(status.memory_limit)}" if status.memory_limit else ""
        facts.append(f"memory {amount(status.memory)}{limit}")
    if status.cpu_percent is not None:
        facts.append(f"CPU {status.cpu_percent:.0f} %")
    return Text.assemble((status.phase, "bold"), "  " if status.phase else "", (" · ".join(facts), "dim"))


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `24:00:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def amount(size: int) -> str:
    """`512 MiB`, `15.6 GiB`."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1000 << 20 else f"{size / (1 << 20):.0f} MiB"


def _say(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody to tell
