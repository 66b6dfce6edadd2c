"""What hooks write, line by line, and how they are found again: on real processes."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from running import PROGRAMS, program, wait_until

if TYPE_CHECKING:
    from running import Run, Starter

pytestmark = pytest.mark.together

SAVER = program("saver.py")
TRUE = ["true"]
PYTHON = f"[{sys.executable}, -c"


def config(*hooks: str, stop_timeout: int = 30) -> str:
    """A configuration file with these hooks."""
    return "".join([f"stop_timeout: {stop_timeout}s\nlinger: 1s\nhooks:\n", *(f"  - {{{hook}}}\n" for hook in hooks)])


def written(run: Run, name: str) -> list[str]:
    """What the hook `name` wrote, line by line."""
    lines = [line.partition("]: ")[2] for line in run.stderr.splitlines()]
    return [line[len(name) + 2 :] for line in lines if line.startswith(f"{name}: ")]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("b'\\0' * 3000 + b'END'", r"\x00" * 3000 + "END"),
        ("b'\\t' * 3000 + b'END'", " " * 24000 + "END"),
        ("b'\\xff' * 3000 + b'END'", "\ufffd" * 3000 + "END"),
        ("('a' + '\u20ac' * 3000 + 'END').encode()", "a" + "\u20ac" * 3000 + "END"),
    ],
    ids=["NUL", "tabs", "no text", "three bytes a character"],
)
def test_whatever_is_written_nothing_of_it_is_lost(source: str, shown: str, start: Starter) -> None:
    source = source.replace("\\", "\\\\")  # for YAML
    run = start(TRUE, config=config(f'on: exit, name: h, run: {PYTHON}, "import os; os.write(1, {source})"]'))
    run.end()
    assert "".join(written(run, "h")) == shown


def test_json_lines_are_short_enough_for_one_write_too(start: Starter) -> None:
    hook = f"on: exit, name: h, run: {PYTHON}, \"print('\\\\' * 9000)\"]"
    run = start(TRUE, "--log-format", "json", config=config(hook))
    run.end()
    assert max(map(len, run.stderr.splitlines())) < 4096


def test_a_closed_output_is_not_taken_for_the_next_hooks(start: Starter) -> None:
    """Its descriptor has another hook's pipe by then, in which a line has only begun."""
    closed = "exec >/dev/null 2>&1; echo x >$STATE/closed; while [ ! -e $STATE/begun ]; do sleep 0.02; done"
    begun = "printf half; echo x >$STATE/begun; while [ ! -e $STATE/over ]; do sleep 0.02; done; echo -whole"
    run = start(
        SAVER,
        config=config(
            f'on: USR2, name: a, run: [sh, -c, "{closed}"], timeout: 9s',
            f'on: stopping, name: b, run: [sh, -c, "{begun}"], timeout: 9s',
        ),
    )
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    run.wait_for("closed")
    run.send(signal.SIGTERM)
    wait_until(lambda: "SIGUSR2 hook a" in run.stderr and "ended with exit code 0" in run.stderr, "the first to end")
    (run.state / "over").touch()
    assert run.end() == 0
    assert written(run, "b") == ["half-whole"]


@pytest.mark.slow
def test_floods_do_not_make_a_stop_late(start: Starter) -> None:
    """Of what start hooks left behind, which write as long as they live."""
    hooks = ['on: start, run: [sh, -c, "(yes x &)"]'] * 6
    run = start(program("ignorer.py"), config=config(*hooks, stop_timeout=10))
    run.wait_for("ready")
    assert run.stop() == 137
    assert run.seconds < 10
    assert run.left == {}


def test_waiting_in_vain_says_for_what(start: Starter) -> None:
    source = f"import signal, sys, time; sys.path.insert(0, {str(PROGRAMS)!r}); import state\n"
    source += "signal.signal(signal.SIGUSR1, lambda *_: None); state.ready()\nwhile True: time.sleep(0.05)"
    run = start(
        [sys.executable, "-c", source], config=config("on: stopping, signal: USR1, wait_for: $STATE/x*, timeout: 4s")
    )
    run.wait_for("ready")
    run.stop()
    assert re.search(rf"nothing new matches {run.state}/x\* after [\d.]+ s", run.stderr)


def test_a_zombie_is_not_waited_for(start: Starter) -> None:
    """A launcher that does not reap: its child has gone all the same."""
    source = f"import os, signal, sys, time; sys.path.insert(0, {str(PROGRAMS)!r}); import state\n"
    source += "if os.fork() == 0:\n signal.signal(signal.SIGUSR1, lambda *_: os._exit(0)); state.ready()\n"
    source += "while True: time.sleep(0.05)"
    hook = "on: stopping, signal: USR1, wait_for: $STATE/x*, timeout: 9s"
    run = start([sys.executable, "-c", source], config=config(hook))
    run.wait_for("ready")
    run.stop()
    assert "who was sent SIGUSR1 has gone" in run.stderr
    assert run.seconds < 8


def test_a_hooks_timeout_below_a_hook_is_no_other_programs(start: Starter) -> None:
    """smentry below a hook of smentry, and hooks of the same name."""
    inner = "hooks: [{on: USR1, name: h, run: [sleep, '1000'], timeout: 500ms}]"
    nested = f"{sys.executable} -m smentry --config $STATE/inner.yaml {sys.executable} {PROGRAMS}/saver.py"
    run = start(
        ["sleep", "1000"],
        config=config(f'on: USR2, name: h, run: [sh, -c, "exec {nested}"], timeout: 15s'),
    )
    (run.state / "inner.yaml").write_text(inner)
    wait_until(lambda: "sleep is pid" in run.stderr, "the program")
    run.send(signal.SIGUSR2)
    run.wait_for("ready")
    os.kill(run.facts["parent"], signal.SIGUSR1)
    wait_until(lambda: "was killed" in run.stderr, "the inner hook's timeout")
    os.kill(run.facts["parent"], signal.SIGTERM)
    run.wait_for("saved")
    run.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_hook_as_another_user_can_open_its_output(start: Starter) -> None:
    run = start(
        TRUE,
        "--user",
        "nobody",
        config=config('on: exit, name: h, run: [sh, -c, "echo one >/dev/stderr; echo two >/dev/stdout"]'),
    )
    run.end()
    assert written(run, "h") == ["one", "two"]
