"""Hooks on real processes: when they run, what they are told, and that nothing they do harms a stop."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest
from running import MODES, PROGRAMS, program, wait_until

if TYPE_CHECKING:
    from running import Run, Starter

both = pytest.mark.parametrize("mode", MODES)
pytestmark = pytest.mark.together

SAVER = program("saver.py")
LISTENER = program("listener.py")
TRUE = ["true"]


def hooks(*entries: str, stop_timeout: int = 60) -> str:
    """A configuration file with these hooks, each a YAML mapping in one line, with 5 s where nothing else is said."""
    has_time = [entry if "timeout:" in entry or "on: start" in entry else f"{entry}, timeout: 5s" for entry in entries]
    return "".join(
        [f"stop_timeout: {stop_timeout}s\nlinger: 1s\nhooks:\n", *(f"  - {{{text}}}\n" for text in has_time)]
    )


def sh(command: str) -> str:
    """The `run` of a hook that is a line of shell."""
    return f'run: [sh, -c, "{command}"]'


def note(word: str) -> str:
    """The `run` of a hook that adds a line to `log`."""
    return sh(f"echo {word} >>$STATE/log")


def said(run: Run, text: str) -> list[str]:
    """The lines of stderr with this text in them, without smentry's prefix."""
    return [line.partition("]: ")[2] for line in run.stderr.splitlines() if text in line]


# When.


@both
def test_a_stop_runs_the_hooks_around_the_program(mode: str, start: Starter) -> None:
    events = ("exit", "failed", "succeeded", "stopped", "stopping", "start")
    entries = [f"on: {event}, {note(event)}" for event in events]
    told = sh("ls $STATE/told $STATE/saved >>$STATE/seen 2>/dev/null; true")
    run = start(SAVER, mode=mode, config=hooks(*entries, f"on: stopping, {told}", f"on: stopped, {told}"))
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.lines("log") == ["start", "stopping", "stopped", "exit"]
    # At `stopping` the program had not been told; at `stopped` it had saved.
    assert [os.path.basename(line) for line in run.lines("seen")] == ["saved", "told"]
    assert run.lines("told") == ["SIGTERM"]
    assert run.left == {}


@pytest.mark.parametrize(("code", "outcome"), [(0, "succeeded"), (3, "failed")])
def test_without_a_stop_the_outcome_is_the_programs(code: int, outcome: str, start: Starter) -> None:
    entries = [f"on: {event}, {note(event)}" for event in ("succeeded", "failed", "stopped", "stopping", "exit")]
    run = start(["sh", "-c", f"exit {code}"], config=hooks(*entries))
    assert run.end() == code
    assert run.lines("log") == [outcome, "exit"]


def test_a_program_that_cannot_be_run_has_failed(start: Starter) -> None:
    """It has gone when it is to be executed; what is wrong before anything runs is refused without any hook."""
    with tempfile.TemporaryDirectory() as directory:
        path = shutil.copy("/bin/sh", directory)
        entries = (f"on: start, run: [rm, {path}]", f"on: failed, {note('failed')}", f"on: exit, {note('exit')}")
        run = start([path], config=hooks(*entries))
        assert run.end() == 127
    assert run.lines("log") == ["failed", "exit"]


def test_hooks_of_an_event_run_in_their_order_and_one_at_a_time(start: Starter) -> None:
    entries = [f"on: exit, {sh(f'echo {n} >>$STATE/log; sleep 0.1; echo {n} >>$STATE/log')}" for n in (3, 1, 2)]
    run = start(TRUE, config=hooks(*entries))
    run.end()
    assert run.lines("log") == ["3", "3", "1", "1", "2", "2"]


def test_a_hook_that_fails_does_not_keep_the_next_from_running(start: Starter) -> None:
    run = start(
        SAVER,
        config=hooks(
            "on: exit, run: 'false'",
            "on: exit, run: no-such-command",
            f"on: exit, {sh('kill -9 $$')}",
            f"on: exit, {note('ran')}",
        ),
    )
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.lines("log") == ["ran"]
    assert len(said(run, "exit hook false")) == 2
    assert "ended with exit code 1" in said(run, "exit hook false")[1]
    assert "it is not on PATH" in said(run, "no-such-command: cannot run")[0]
    assert "died of SIGKILL" in said(run, "exit hook sh")[1]
    (last,) = said(run, "done in ")
    assert last.endswith(", 4 hooks run, 3 of them failed; exit code 0")


# What they are told, and what they say.


def test_a_hook_knows_event_reason_times_and_outcome(start: Starter) -> None:
    show = sh("env | grep ^SMENTRY_ | sort >$STATE/env.$SMENTRY_EVENT")
    config = hooks(
        f"on: start, {show}",
        f"on: stopping, {show}, timeout: 3s",
        f"on: exit, {show}, timeout: 2s",
        f"on: USR2, {show}",
        stop_timeout=20,
    )
    run = start(SAVER, config=config, EXIT_CODE="5", GREETING="hello", save=0.1)
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    run.wait_for("env.SIGUSR2")
    before = time.time()
    run.stop()

    def env(event: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in run.lines(f"env.{event}"))

    assert env("start")["SMENTRY_EVENT"] == "start"
    assert not {"SMENTRY_PID", "SMENTRY_EXIT_CODE", "SMENTRY_REASON", "SMENTRY_STOP_AT", "SMENTRY_SECONDS_LEFT"} & set(
        env("start")
    )
    assert env("SIGUSR2")["SMENTRY_REASON"] == "SIGUSR2"
    stopping = env("stopping")
    assert stopping["SMENTRY_REASON"] == "SIGTERM"
    assert stopping["SMENTRY_PID"] == str(run.facts["pid"])
    assert "SMENTRY_EXIT_CODE" not in stopping
    assert 2 < float(stopping["SMENTRY_SECONDS_LEFT"]) <= 3
    assert before + 19 < float(stopping["SMENTRY_STOP_AT"]) < before + 30
    assert stopping["SMENTRY_GRACE_SECONDS"] == "13"  # of 20 s: 3 s and 2 s for hooks, 2 s for the kill
    last = env("exit")
    assert last["SMENTRY_EXIT_CODE"] == "5"
    assert "SMENTRY_PID" not in last
    assert abs(float(last["SMENTRY_STOP_AT"]) - float(stopping["SMENTRY_STOP_AT"])) < 0.5


def test_output_is_said_line_by_line_with_the_name_in_front(start: Starter) -> None:
    command = "printf 'one\\\\ntwo\\\\rthree\\\\n\\\\nü'; echo err >&2; printf last"
    run = start(TRUE, "-q", config=hooks(f"on: exit, name: my hook, {sh(command)}"))
    run.end()
    lines = said(run, "my hook: ")
    assert sorted(lines) == sorted(["my hook: one", "my hook: two", "my hook: three", "my hook: üerr", "my hook: last"])


def test_long_lines_are_parted_and_nothing_of_them_is_lost(start: Starter) -> None:
    run = start(TRUE, config=hooks("on: exit, run: [seq, -s, '', '3000']"))
    run.end()
    text = "".join(line.removeprefix("seq: ") if hasattr(str, "removeprefix") else line for line in said(run, "seq: "))
    assert text == "".join(str(n) for n in range(1, 3001))


def test_two_that_write_at_once_do_not_mix_within_a_line(start: Starter) -> None:
    write = "i=0; while [ $i -lt 200 ]; do printf {w}{w}{w}; printf '{w}{w}\\\\n'; i=$((i+1)); done"
    config = hooks(
        f"on: stopping, name: a, {sh(write.format(w='aaaaaaaa').replace('{', '').replace('}', ''))}",
        f"on: USR2, name: b, {sh(write.format(w='bbbbbbbb').replace('{', '').replace('}', ''))}",
    )
    run = start(SAVER, config=config)
    run.wait_for("ready")
    run.send(signal.SIGUSR2, signal.SIGTERM)
    run.end()
    assert [line for line in said(run, "]: a: ") if line != "a: " + "a" * 40] == []
    assert len(said(run, "]: a: ")) == 200
    assert [line for line in said(run, "]: b: ") if line != "b: " + "b" * 40] == []


# The time they have.


@both
def test_a_hook_out_of_time_is_killed_with_all_that_it_started(mode: str, start: Starter) -> None:
    """In its group, in a session of its own, and orphaned; while the program goes on."""
    forks = "trap '' TERM INT HUP; sleep 1000 & setsid sleep 1001 & (setsid sleep 1002 &) ; echo x >$STATE/forked; sleep 1003"
    run = start(SAVER, mode=mode, config=hooks(f"on: USR2, timeout: 3s, {sh(forks)}"))
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    run.wait_for("forked")
    wait_until(lambda: said(run, ": its time was over"), "the hook to be killed")
    wait_until(lambda: "sleep" not in run.alive().values(), f"its processes to be gone: {run.alive()}")
    assert run.stop() == 0
    assert run.has("saved")


@both
@pytest.mark.slow
def test_hooks_that_use_all_their_time_do_not_make_the_stop_late(mode: str, start: Starter) -> None:
    stubborn = sh("trap '' TERM; while :; do sleep 1; done")
    config = hooks(
        *(f"on: {event}, timeout: 700ms, {stubborn}" for event in ("stopping", "stopped", "exit")), stop_timeout=20
    )
    run = start(program("ignorer.py"), mode=mode, config=config)
    run.wait_for("ready")
    assert run.stop() == 137
    assert 16 < run.seconds < 20
    assert run.left == {}
    assert len(said(run, ": its time was over")) == 3


def test_time_that_stopping_hooks_do_not_use_is_the_programs(start: Starter) -> None:
    run = start(SAVER, config=hooks("on: stopping, run: 'true', timeout: 3s", stop_timeout=5), save=2)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")  # its guaranteed share were 1.5 s


def test_a_hook_that_stops_itself_is_killed_all_the_same(start: Starter) -> None:
    run = start(SAVER, config=hooks(f"on: stopping, timeout: 500ms, {sh('kill -STOP $$')}"))
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert said(run, ": its time was over")


def test_a_hook_that_writes_for_ever_holds_nothing_up(start: Starter) -> None:
    """Nor does what it left behind, and goes on writing."""
    config = hooks(
        "on: stopping, run: yes, timeout: 1s",
        f"on: stopped, {sh('setsid yes & echo')}",
        f"on: exit, {note('next')}",
    )
    run = start(SAVER, config=config)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert run.lines("log") == ["next"]
    assert run.seconds < 20
    assert said(run, "stopping hook yes")[1].endswith(": its time was over")


def test_a_hook_that_kills_everybody_else_does_not_keep_the_others_from_running(start: Starter) -> None:
    config = hooks(
        f"on: stopping, {sh('kill -9 $SMENTRY_PID; while kill -0 $SMENTRY_PID; do sleep 0.05; done')}",
        f"on: stopping, {note('never')}",
        f"on: stopped, {note('after')}",
    )
    run = start(SAVER, config=config)
    run.wait_for("ready")
    assert run.stop() == 137
    assert run.lines("log") == ["after"]
    assert said(run, "is not run: the program has ended")


def test_what_a_start_hook_leaves_behind_goes_on_with_the_program(start: Starter) -> None:
    run = start(SAVER, config=hooks(f"on: start, {sh('setsid sleep 1000 & echo')}"))
    run.wait_for("ready")
    wait_until(lambda: "sleep" in run.alive().values(), "what the hook has started")
    assert run.stop() == 0
    assert run.left == {}


def test_what_the_last_hook_leaves_behind_is_killed(start: Starter) -> None:
    run = start(TRUE, config=hooks(f"on: exit, {sh('setsid sleep 1000 & echo')}"))
    assert run.end() == 0
    assert run.left == {}


# Before the program.


def test_a_start_hook_that_fails_fails_the_job(start: Starter) -> None:
    config = hooks(
        f"on: start, {sh('exit 7')}",
        f"on: start, {note('second')}",
        f"on: failed, {note('failed')}",
        f"on: exit, {note('exit')}",
    )
    run = start(SAVER, config=config)
    assert run.end() == 7
    assert not run.has("ready")
    assert run.lines("log") == ["failed", "exit"]
    assert said(run, "start hook sh is not run: start hook sh failed")


def test_a_start_hook_that_is_not_required_may_fail(start: Starter) -> None:
    run = start(TRUE, config=hooks("on: start, run: 'false', required: no"))
    assert run.end() == 0


def test_a_start_hook_out_of_time_fails_the_job_with_1(start: Starter) -> None:
    run = start(SAVER, config=hooks("on: start, run: [sleep, '1000'], timeout: 300ms"))
    assert run.end() == 1
    assert not run.has("ready")


def test_a_stop_during_a_start_hook_is_told_to_it_and_nothing_is_started(start: Starter) -> None:
    hook = sh("trap 'echo told >>$STATE/log; exit 0' TERM; echo x >$STATE/waiting; while :; do sleep 0.1; done")
    config = hooks(
        f"on: start, {hook}",
        f"on: start, {note('second')}",
        f"on: stopped, {note('stopped')}",
        f"on: exit, {note('exit')}",
    )
    run = start(SAVER, config=config)
    run.wait_for("waiting")
    assert run.stop() == 143
    assert run.lines("log") == ["told", "stopped", "exit"]
    assert not run.has("ready")
    assert run.left == {}


@pytest.mark.slow
def test_a_stop_does_not_wait_longer_for_a_start_hook_than_it_would_for_the_program(start: Starter) -> None:
    hook = sh("trap '' TERM; echo x >$STATE/waiting; while :; do sleep 0.1; done")
    run = start(SAVER, config=hooks(f"on: start, {hook}", stop_timeout=20))
    run.wait_for("waiting")
    assert run.stop() == 143
    assert 16 < run.seconds < 20


# Signals.


def test_a_signal_with_a_hook_runs_it_and_is_not_passed_on(start: Starter) -> None:
    run = start(LISTENER, config=hooks(f"on: USR2, {note('snapshot')}"))
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    run.wait_for("log")
    run.send(signal.SIGUSR1)
    run.wait_for("signals")
    run.stop()
    assert run.lines("signals") == ["SIGUSR1", "SIGTERM"]
    assert run.lines("log") == ["snapshot"]


def test_requests_that_overlap_are_one_more_run(start: Starter) -> None:
    hook = sh("echo begin >>$STATE/log; while [ ! -e $STATE/go ]; do sleep 0.05; done; echo end >>$STATE/log")
    run = start(LISTENER, "-v", config=hooks(f"on: USR2, {hook}"))
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    run.wait_for("log")
    for request in range(2, 7):
        run.send(signal.SIGUSR2)
        wait_until(lambda count=request: len(said(run, "SIGUSR2 came")) == count, "the request to be taken")
    (run.state / "go").touch()
    wait_until(lambda: run.lines("log") == ["begin", "end"] * 2, "the second run")
    run.stop()
    assert run.lines("log") == ["begin", "end"] * 2


def test_a_request_during_a_stop_is_reported_as_not_run(start: Starter) -> None:
    run = start(SAVER, config=hooks(f"on: USR2, {note('snapshot')}"), save=1)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    run.wait_for("told")
    run.send(signal.SIGUSR2)
    run.end()
    assert said(run, "SIGUSR2 hook sh is not run: a stop is under way")
    assert not run.has("log")


def test_a_snapshot_under_way_goes_on_beside_the_stop(start: Starter) -> None:
    """It ends only when the program has been told, and has saved."""
    hook = sh("echo begin >>$STATE/log; while [ ! -e $STATE/saved ]; do sleep 0.05; done; echo end >>$STATE/log")
    run = start(SAVER, config=hooks(f"on: USR2, {hook}"), save=0.2)
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    run.wait_for("log")
    assert run.stop() == 0
    assert run.lines("log") == ["begin", "end"]


def test_a_signal_hook_asks_those_who_have_a_handler_and_waits_for_the_effect(start: Starter) -> None:
    config = hooks("on: stopping, signal: USR1, wait_for: $STATE/*.done, timeout: 10s")
    save = (
        "import os, signal, time; import state; state.add('signals', 'SIGUSR1'); time.sleep(0.3); state.note('1.done')"
    )
    source = (
        f"import signal, time, sys; sys.path.insert(0, {str(PROGRAMS)!r}); import state\ndef save(*_): exec({save!r})\n"
    )
    source += "signal.signal(signal.SIGUSR1, save); state.note('old.done'); state.ready()\nwhile True: time.sleep(0.05)"
    run = start([sys.executable, "-c", source], config=config)
    run.wait_for("ready")
    run.stop()
    assert run.lines("signals") == ["SIGUSR1"]
    assert said(run, "1.done is there")
    assert "ended with exit code 0" in said(run, "stopping hook signal")[1]


def test_a_signal_that_nobody_has_a_handler_for_is_not_sent(start: Starter) -> None:
    run = start(SAVER, config=hooks("on: USR2, signal: USR1"))
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    wait_until(lambda: said(run, "nobody has a handler for SIGUSR1"), "the hook to fail")
    assert run.stop() == 0
    assert run.has("saved")


def test_waiting_for_a_program_that_has_gone_ends(start: Starter) -> None:
    source = f"import os, signal, sys, time; sys.path.insert(0, {str(PROGRAMS)!r}); import state\n"
    source += "signal.signal(signal.SIGUSR1, lambda *_: os._exit(4)); state.ready()\nwhile True: time.sleep(0.05)"
    config = hooks("on: stopping, signal: USR1, wait_for: $STATE/*.done, timeout: 10s")
    run = start([sys.executable, "-c", source], config=config)
    run.wait_for("ready")
    assert run.stop() == 4
    assert run.seconds < 10
    assert said(run, "who was sent SIGUSR1 has gone")


# A person at the keyboard.


def test_a_second_interrupt_kills_the_program_and_a_third_the_hooks_after_it(start: Starter) -> None:
    hook = sh("echo x >$STATE/after; sleep 1000")
    run = start(program("ignorer.py"), config=hooks(f"on: stopped, timeout: 20s, {hook}", f"on: exit, {note('exit')}"))
    run.wait_for("ready")
    run.send(signal.SIGINT)
    wait_until(lambda: "SIGINT came" in run.stderr, "the first to be taken")
    run.send(signal.SIGINT)
    run.wait_for("after")
    run.send(signal.SIGINT)
    assert run.end() == 137
    assert run.seconds < 20
    assert said(run, "exit hook sh is not run: a second SIGINT came")
    assert run.left == {}


# Faults.


def test_a_reader_that_does_not_read_does_not_stop_hooks(start: Starter) -> None:
    """stderr is a pipe that is full: what a hook writes is dropped, and nobody waits."""
    run = start(
        SAVER,
        config=hooks("on: stopping, run: yes, timeout: 1s", f"on: stopped, {note('after')}"),
        before=("sh", "-c", '(exec "$@" 2>&1 >/dev/null) | sleep 1000', "sh"),
    )
    wait_until(lambda: run.has("ready"), "the program")
    inner = run.facts["parent"]
    os.kill(inner, signal.SIGTERM)
    wait_until(lambda: run.has("log"), "the hook after it")
    wait_until(lambda: inner not in run.alive(), "smentry to end")
    assert run.has("saved")
