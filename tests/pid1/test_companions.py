"""Companions as real processes: beside the program, told after it and in the reverse order, and what comes of their ends."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import MODES, PROGRAMS, SMENTRY, program, status, wait_until

from smentry.picture import record

if TYPE_CHECKING:
    from running import Run, Starter

both = pytest.mark.parametrize("mode", MODES)
pytestmark = pytest.mark.together

SLEEP = ["sleep", "1000"]


def beside(name: str, *arguments: str) -> list[str]:
    return [*program("beside.py"), name, *arguments]


def companion(name: str, *arguments: str, run: list[str] | str = "", **keys: Any) -> str:
    """A companion, as it is written in one line: `beside.py NAME`, or something else to `run`."""
    return json.dumps({"name": name, "run": run or beside(name, *arguments), **keys})


def sh(command: str) -> list[str]:
    return ["sh", "-c", command]


def config(*companions: str, hooks: tuple[str, ...] = (), stop_timeout: int = 60) -> str:
    lines = [f"stop_timeout: {stop_timeout}s", "linger: 5s", "processes:", *(f"  - {each}" for each in companions)]
    return "\n".join([*lines, *(["hooks:", *(f"  - {{{hook}, timeout: 2s}}" for hook in hooks)] if hooks else [])])


def note(event: str) -> str:
    """A hook that adds a line with its event, the reason and the exit code to `log`."""
    return f"on: {event}, " + 'run: [sh, -c, "echo $SMENTRY_EVENT $SMENTRY_REASON $SMENTRY_EXIT_CODE >>$STATE/log"]'


def said(run: Run, text: str) -> list[str]:
    """The lines of stderr with this text in them, without smentry's prefix."""
    return [line.partition("]: ")[2] for line in run.stderr.splitlines() if text in line]


def ready(run: Run, *names: str) -> None:
    for name in names:
        run.wait_for(f"ready.{name}")


# A run and its stop.


@both
def test_they_start_before_the_program_and_are_told_after_it_in_reverse(mode: str, start: Starter) -> None:
    first = companion("first", stop_signal="QUIT")
    run = start(beside("program"), mode=mode, config=config(first, companion("second"), companion("third")))
    ready(run, "first", "second", "third", "program")
    assert run.stop() == 0
    assert run.lines("log") == [
        "program told SIGTERM", "program ended", "third told SIGTERM", "third ended",
        "second told SIGTERM", "second ended", "first told SIGQUIT", "first ended",
    ]  # fmt: skip
    started = [re.sub(r" is pid.*", "", line) for line in said(run, " is pid ")]
    assert started[:3] == ["companion first", "companion second", "companion third"]
    assert len(started) == 4
    assert run.left == {}


def test_one_has_the_programs_environment_a_group_of_its_own_and_nothing_on_stdin(start: Starter) -> None:
    run = start(beside("program"), config=config(companion("a")), GREETING="hello")
    ready(run, "a", "program")
    facts, programs = json.loads(run.read("ready.a")), json.loads(run.read("ready.program"))
    assert os.readlink(f"/proc/{facts['pid']}/fd/0") == "/dev/null"
    assert facts["group"] == facts["pid"]
    assert facts["environment"]["GREETING"] == "hello"
    assert facts["environment"] == programs["environment"]
    assert facts["directory"] == os.getcwd()
    assert (facts["parent"], programs["parent"]) == (run.pid, run.pid)
    assert int(status(facts["pid"], "SigBlk"), 16) == int(status(programs["pid"], "SigBlk"), 16)
    run.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to become another user")
def test_one_runs_as_the_programs_user(start: Starter) -> None:
    run = start(
        ["sleep", "1000"], "--user", "65534:65534", config=config(companion("a", run=sh("id -u; exec sleep 1000")))
    )
    wait_until(lambda: run.stdout, "the companion's line")
    assert run.stop() == 143
    assert run.stdout == "65534\n"


def test_who_is_below_a_shell_is_told_and_the_shell_is_not(start: Starter) -> None:
    one = " ".join(beside("inner"))
    run = start(beside("program"), config=config(companion("outer", run=sh(f"{one}; echo outer ended >>$STATE/log"))))
    ready(run, "inner", "program")
    assert run.stop() == 0
    assert run.lines("log")[2:] == ["inner told SIGTERM", "inner ended", "outer ended"]
    assert run.seconds < 20


@both
def test_when_the_program_ends_by_itself_they_are_told_too(mode: str, start: Starter) -> None:
    script = "until [ -e $STATE/ready.a ] && [ -e $STATE/ready.b ]; do sleep 0.05; done; exit 7"
    run = start(sh(script), mode=mode, config=config(companion("a", stop_signal="INT"), companion("b")))
    assert run.end() == 7
    assert run.lines("log") == ["b told SIGTERM", "b ended", "a told SIGINT", "a ended"]
    assert run.left == {}


@pytest.mark.slow
def test_one_that_does_not_end_keeps_the_next_from_its_turn_until_nearly_all_time_is_used(start: Starter) -> None:
    run = start(beside("program"), config=config(companion("a"), companion("stuck", "never"), stop_timeout=20))
    ready(run, "a", "stuck", "program")
    assert run.stop() == 0
    assert run.lines("log")[2:] == ["stuck told SIGTERM", "a told SIGTERM", "a ended"]
    assert 0.9 * 18 < run.seconds < 20
    assert len(said(run, "nearly all of the time is used")) == 1
    assert run.left == {}


@pytest.mark.slow
def test_what_a_shell_goes_on_with_may_finish_until_nearly_all_time_is_used(start: Starter) -> None:
    script = sh(f"{' '.join(beside('inner'))}; sleep 1000")
    run = start(beside("program"), config=config(companion("outer", run=script), stop_timeout=20))
    ready(run, "inner", "program")
    assert run.stop() == 0
    assert run.lines("log")[2:] == ["inner told SIGTERM", "inner ended"]
    (line,) = said(run, "nearly all of the time is used")
    assert "sleep (" in line
    assert 0.9 * 18 < run.seconds < 20


HIDEPID = 'mount -o remount,hidepid=2,gid=54321 /proc && exec setpriv --bounding-set -sys_ptrace "$@"'
NO_PROC = 'mount -t tmpfs none /proc && exec "$@"'
HIDDEN = """import ctypes, os, sys
sys.path.insert(0, os.environ["PROGRAMS"])
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE: nobody without CAP_SYS_PTRACE may look at it
exec(open(os.path.join(os.environ["PROGRAMS"], "beside.py")).read())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to mount /proc anew, without the right to see all")
@pytest.mark.parametrize("hide", [HIDEPID, NO_PROC], ids=["hidepid", "no proc"])
def test_one_that_cannot_be_seen_is_told_all_the_same(hide: str, start: Starter) -> None:
    companions = [companion(name, run=[sys.executable, "-c", HIDDEN, name], stop_signal="QUIT") for name in "ab"]
    run = start(
        [sys.executable, "-c", HIDDEN, "program"],
        mode="init",
        config=config(*companions),
        init=["sh", "-c", hide, "sh", *SMENTRY],
    )
    ready(run, "a", "b", "program")
    assert run.stop() == 0
    assert run.lines("log") == [
        "program told SIGTERM", "program ended", "b told SIGQUIT", "b ended", "a told SIGQUIT", "a ended",
    ]  # fmt: skip
    assert run.seconds < 20


def test_who_newly_asks_is_told(start: Starter) -> None:
    script = sh(f"{' '.join(beside('inner'))}; {' '.join(beside('next'))}")
    run = start(beside("program"), config=config(companion("outer", run=script)))
    ready(run, "inner", "program")
    assert run.stop() == 0
    assert run.lines("log")[2:] == ["inner told SIGTERM", "inner ended", "next told SIGTERM", "next ended"]
    assert run.seconds < 20


def test_one_that_ignores_the_signal_has_the_linger_time(start: Starter) -> None:
    stubborn = companion("stubborn", run=program("ignorer.py"))
    run = start(SLEEP, "--linger", "3s", config=config(companion("a"), stubborn))
    ready(run, "a")
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGTERM
    assert run.lines("log") == ["a told SIGTERM", "a ended"]
    (line,) = said(run, "told a (")
    assert float(line.split("after ")[1].split(" s")[0]) < 2.5  # its turn does not wait for one that will not heed
    assert run.seconds < 20
    assert "told 3 s ago, and has no handler" in run.stderr


def test_what_one_has_left_behind_ends_with_the_rest(start: Starter) -> None:
    left = companion("leaver", run=sh(f"setsid {' '.join(beside('orphan'))} & exit 0"), required=False)
    run = start(beside("program"), config=config(left))
    ready(run, "orphan", "program")
    assert run.stop() == 0
    assert run.lines("log")[2:] == ["orphan told SIGTERM", "orphan ended"]
    assert run.left == {}


def test_other_signals_go_to_the_program_alone(start: Starter) -> None:
    run = start(program("listener.py"), config=config(companion("a")))
    ready(run, "a")
    run.wait_for("ready")
    run.send(signal.SIGUSR1)
    wait_until(lambda: run.lines("signals") == ["SIGUSR1"], "the signal")
    run.stop()
    assert run.lines("log") == ["a told SIGTERM", "a ended"]


@pytest.mark.parametrize("scope", ["main", "group", "all"])
def test_they_have_their_turn_in_every_scope(scope: str, start: Starter) -> None:
    run = start(beside("program"), "--scope", scope, config=config(companion("a"), companion("b")))
    ready(run, "a", "b", "program")
    assert run.stop() == 0
    assert [line for line in run.lines("log") if "told" in line] == [
        "program told SIGTERM", "b told SIGTERM", "a told SIGTERM",
    ]  # fmt: skip


def test_a_second_sigint_kills_them_too(start: Starter) -> None:
    run = start(beside("program", "never"), config=config(companion("a"), companion("b")))
    ready(run, "a", "b", "program")
    run.send(signal.SIGINT)
    wait_until(lambda: run.lines("log") == ["program told SIGINT"], "the first signal")
    assert run.stop(signal.SIGINT) == 137
    assert run.lines("log") == ["program told SIGINT"]
    assert run.left == {}


def test_at_the_limit_of_its_runtime_the_program_is_told_first(start: Starter) -> None:
    run = start(beside("program"), "--max-runtime", "6s", config=config(companion("a")))
    assert run.end() == 0
    assert run.lines("log") == ["program told SIGTERM", "program ended", "a told SIGTERM", "a ended"]


@pytest.mark.parametrize(
    ("options", "stop", "told"),
    [
        ((), signal.SIGTERM, "SIGTERM"),
        (("--serve-signal", "QUIT"), signal.SIGTERM, "SIGQUIT"),
        (("--serve-signal", "QUIT"), signal.SIGINT, "SIGQUIT"),
        (("--serve-signal", "QUIT"), None, "SIGQUIT"),
        (("--serve-signal", "QUIT", "-rTERM:INT"), signal.SIGTERM, "SIGINT"),
    ],
)
def test_the_program_for_serve_may_have_its_own_signal(
    options: tuple[str, ...], stop: int | None, told: str, start: Starter
) -> None:
    ends = companion("b", run=sh("until [ -e $STATE/go ]; do sleep 0.05; done"))
    text = config(companion("a"), ends) + "\nserve: " + json.dumps(beside("program"))
    run = start(["serve"], *options, separator=(), config=text)
    ready(run, "a", "program")
    if stop is None:
        (run.state / "go").touch()
        assert run.end() == 0
    else:
        assert run.stop(stop) == 0
    assert run.lines("log") == [f"program told {told}", "program ended", "a told SIGTERM", "a ended"]


@both
def test_wait_all_does_not_wait_for_them(mode: str, start: Starter) -> None:
    script = f"setsid {' '.join(beside('daemon'))} & exit 3"
    run = start(sh(script), "--wait-all", mode=mode, config=config(companion("a")))
    ready(run, "a", "daemon")
    os.kill(
        json.loads(run.read("ready.daemon"))["pid"] if mode == "subreaper" else _outer(run, "daemon"), signal.SIGTERM
    )
    assert run.end() == 3
    assert run.lines("log") == ["daemon told SIGTERM", "daemon ended", "a told SIGTERM", "a ended"]


def _outer(run: Run, name: str) -> int:
    """The pid, as seen from here, of a program below smentry that has a PID namespace of its own."""
    for pid in run.alive():
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2:-1] == [name.encode()]:
            return pid
    raise AssertionError(name)


def test_idle_means_idle_beside_them_too(start: Starter) -> None:
    """No voluntary context switch (proc(5))."""
    over = companion("over", run="true", required=False)
    run = start(SLEEP, config=config(companion("a", run=SLEEP), over))
    wait_until(lambda: said(run, "companion over (") and said(run, "sleep is pid"), "everything to be started")
    waits = Path(f"/proc/{run.pid}/wchan")
    wait_until(lambda: "sigtimedwait" in waits.read_text(), "idleness")
    before = status(run.pid, "voluntary_ctxt_switches")
    deadline = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > deadline, "a second to pass")
    assert status(run.pid, "voluntary_ctxt_switches") == before


# The end of one.


@pytest.mark.parametrize(
    ("how", "program_code", "code"),
    [("exit 0", 0, 0), ("exit 3", 0, 3), ("kill -9 $$", 0, 137), ("exit 3", 5, 5), ("exit 0", 5, 5)],
)
def test_the_end_of_one_that_is_required_stops_the_job(how: str, program_code: int, code: int, start: Starter) -> None:
    outcome = "failed" if code else "succeeded"
    hooks = tuple(note(event) for event in ("stopping", "stopped", "succeeded", "failed", "exit"))
    ends = companion("nginx", run=sh(f"until [ -e $STATE/ready.program ]; do sleep 0.05; done; {how}"))
    run = start(beside("program", "0.1", str(program_code)), config=config(companion("a"), ends, hooks=hooks))
    ready(run, "a")
    assert run.end() == code
    assert run.lines("log") == [
        "stopping nginx ended", "program told SIGTERM", "program ended", "a told SIGTERM", "a ended",
        f"{outcome} nginx ended {code}", f"exit nginx ended {code}",
    ]  # fmt: skip
    line = said(run, "error: companion nginx (")[0]
    assert ("died of SIGKILL" if "kill" in how else f"ended with exit {how.replace('exit', 'code')}") in line
    assert len(said(run, "nginx ended after")) == 1
    assert run.left == {}


def test_the_end_of_one_that_is_not_required_is_said_and_that_is_all(start: Starter) -> None:
    run = start(
        sh("until [ -e $STATE/go ]; do sleep 0.05; done"),
        config=config(companion("agent", run="false", required=False)),
    )
    wait_until(lambda: said(run, "warning: companion agent ("), "the line")
    (run.state / "go").touch()
    assert run.end() == 0
    assert "stopping" not in run.stderr


def test_one_that_fails_is_started_again_after_a_while_and_the_run_goes_on(start: Starter) -> None:
    flaky = "date +%s.%N >>$STATE/tries; [ $(wc -l <$STATE/tries) -ge 3 ] || exit 1; exec " + " ".join(beside("flaky"))
    run = start(beside("program"), config=config(companion("flaky", run=sh(flaky), restart="on-failure")))
    ready(run, "flaky", "program")
    first, second, third = map(float, run.lines("tries"))
    assert (second - first > 0.9, third - second > 1.9) == (True, True)
    assert run.stop() == 0
    assert [line.partition("; ")[2] for line in said(run, "ended with exit code 1")] == [
        "started again in 1 s (1 of 5)", "started again in 2 s (2 of 5)",
    ]  # fmt: skip
    assert run.lines("log") == ["program told SIGTERM", "program ended", "flaky told SIGTERM", "flaky ended"]


def test_one_for_which_no_file_can_be_opened_has_failed_and_the_run_goes_on(start: Starter) -> None:
    fails = companion("fails", run=sh("until [ -e $STATE/go ]; do sleep 0.02; done; exit 4"), restart="on-failure")
    run = start(beside("program"), config=config(fails))
    ready(run, "program")
    opened = len(os.listdir(f"/proc/{run.pid}/fd"))
    soft, hard = resource.prlimit(run.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (opened, hard))
    (run.state / "go").touch()
    wait_until(lambda: said(run, "Too many open files; started again in 2 s"), "the failure", 10)
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert run.stop() == 0
    assert run.lines("log") == ["program told SIGTERM", "program ended"]


def test_at_the_limit_of_restarts_the_job_is_stopped(start: Starter) -> None:
    fails = companion("fails", run=sh("echo x >>$STATE/tries; exit 4"), restart="on-failure", restarts=1)
    run = start(beside("program"), config=config(fails))
    assert run.end() == 4
    assert len(run.lines("tries")) == 2
    assert run.lines("log") == ["program told SIGTERM", "program ended"]
    assert "1 restart in a row did not help, and it is not started again; the job ends" in run.stderr


def test_one_that_succeeds_is_not_started_again(start: Starter) -> None:
    done = companion("done", run=sh("echo x >>$STATE/tries"), restart="on-failure", required=False)
    run = start(["sleep", "1.5"], config=config(done))
    assert run.end() == 0
    assert len(run.lines("tries")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, None])
def test_nothing_is_started_again_once_everything_is_to_end(number: int | None, start: Starter) -> None:
    fails = companion("fails", run=sh("echo x >>$STATE/tries; exit 4"), restart="on-failure")
    script = "until [ -e $STATE/go ]; do sleep 0.05; done; exit 6"
    run = start(sh(script) if number is None else beside("program", "2"), config=config(companion("a", "2"), fails))
    ready(run, "a", *(["program"] if number else []))
    wait_until(lambda: said(run, "started again in 4 s"), "the third end, after which it is not there for longest")
    if number is None:
        (run.state / "go").touch()
        assert run.end() == 6
    else:
        assert run.stop(number) == 0
    assert len(run.lines("tries")) == 1 + len(said(run, "companion fails is pid")[1:])
    assert len(said(run, "companion fails is not started again: everything ends")) == 1
    assert run.left == {}


@pytest.mark.parametrize("moment", ["the stopping hook", "the program's own time"])
def test_an_end_during_a_stop_changes_nothing(moment: str, start: Starter) -> None:
    mark = "hook" if "hook" in moment else "log"  # which is there once the program was told
    ends = companion("ends", run=sh(f"until [ -e $STATE/{mark} ]; do sleep 0.02; done; exit 9"), restart="on-failure")
    hooks = ('on: stopping, run: [sh, -c, "touch $STATE/hook; sleep 0.5"]', note("stopped"))
    run = start(
        beside("program", "0.5"), config=config(companion("a"), ends, hooks=hooks if mark == "hook" else hooks[1:])
    )
    ready(run, "a", "program")
    assert run.stop() == 0
    assert run.lines("log") == [
        "program told SIGTERM", "program ended", "a told SIGTERM", "a ended", "stopped SIGTERM 0",
    ]  # fmt: skip
    (line,) = said(run, "companion ends (")
    assert re.search(r"ended with exit code 9 after [\d.]+ s$", line)
    assert len(said(run, "companion ends is pid")) == 1


# One that cannot be started.


@both
@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_without_one_that_is_required_the_program_is_not_started(
    mode: str, command: str, code: int, start: Starter
) -> None:
    wants = sh("until [ -e $STATE/ready.a ]; do sleep 0.05; done; sleep 1000")
    hooks = ("on: start, " + 'run: [sh, -c, "true"]', note("failed"), note("stopping"))
    companions = (companion("a"), companion("wants", run=wants), companion("bad", run=command), companion("never"))
    run = start(beside("program"), mode=mode, config=config(*companions, hooks=hooks))
    assert run.end() == code
    assert run.lines("log")[-1] == f"failed {code}"
    assert not run.has("ready.program")
    assert not run.has("ready.never")
    (line,) = said(run, "companion bad cannot be started: ")
    assert command in line
    told = [line.split()[1] for line in said(run, "told ")]
    assert told.index("wants") < told.index("a")
    assert run.left == {}


def test_one_that_need_not_be_there_is_done_without(start: Starter) -> None:
    again = companion("later", run="./later", restart="on-failure")
    run = start(beside("program"), config=config(companion("bad", run="no-such-command", required=False), again))
    ready(run, "program")
    assert "companion bad cannot be started: no-such-command: not found on PATH" in run.stderr
    assert re.search(r"companion later cannot be started: .*; started again in 1 s \(1 of 5\)", run.stderr)
    assert run.stop() == 0


def test_when_the_program_cannot_be_started_those_that_run_are_stopped(start: Starter) -> None:
    path = f"/tmp/{os.getpid()}.program"
    shutil.copy("/bin/sh", path)
    waits = companion("a", run=sh(f"rm {path}; exec {' '.join(beside('a'))}"))
    hook = 'on: start, run: [sh, -c, "rm -f ' + path + '"]'
    run = start([path], config=config(waits, companion("b"), hooks=(hook, note("failed"))))
    assert run.end() == 127
    assert run.lines("log")[-1] == "failed 127"
    assert [line.split()[1] for line in said(run, "told ")] == ["b", "a"]
    assert run.left == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: fanotify(7)")
def test_a_stop_while_one_is_being_started_starts_nothing_more(start: Starter) -> None:
    with tempfile.TemporaryDirectory() as directory:
        slow = shutil.copy("/bin/true", directory)
        command = [*program("slow_exec.py"), slow, "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holding:
            assert holding.stdout is not None
            assert holding.stderr is not None
            if holding.stdout.readline() != b"waiting\n":
                pytest.skip(f"fanotify: {holding.stderr.read().decode().strip()}")
            try:
                run = start(beside("program"), config=config(companion("a"), companion("slow", run=slow)))
                ready(run, "a")
                assert run.stop() == 128 + signal.SIGTERM
            finally:
                holding.kill()
    assert run.lines("log") == ["a told SIGTERM", "a ended"]
    assert not run.has("ready.program")


# What else may happen.


BROKEN = [sys.executable, str(PROGRAMS / "broken.py")]


@both
@pytest.mark.parametrize("where", ["turns.step@Signal", "turns._tell", "lifecycle.step@Signal"])
def test_with_a_defect_everybody_is_told_its_own_signal(mode: str, where: str, start: Starter) -> None:
    a = companion("a", stop_signal="QUIT")
    run = start(beside("program"), mode=mode, init=BROKEN, BREAK=where, config=config(a, stop_timeout=15))
    ready(run, "a", "program")
    assert run.stop() == 1
    assert sorted(run.lines("log")) == ["a ended", "a told SIGQUIT", "program ended", "program told SIGTERM"]
    assert run.seconds < 15
    assert run.left == {}


def test_with_a_defect_before_a_stop_the_program_is_told_what_a_stop_tells(start: Starter) -> None:
    given = config(companion("a"), stop_timeout=15)
    where = "timeline.Timeline.forwarded"
    run = start(beside("program"), "--rewrite", "TERM:QUIT", init=BROKEN, BREAK=where, config=given)
    ready(run, "a", "program")
    run.send(signal.SIGWINCH)
    assert run.end() == 1
    assert sorted(run.lines("log")) == ["a ended", "a told SIGTERM", "program ended", "program told SIGQUIT"]


def test_the_record_has_them(start: Starter) -> None:
    companions = (companion("a"), companion("b", run="true", required=False))
    run = start(beside("program"), config="timeline: $STATE/t\n" + config(*companions))
    ready(run, "a", "program")
    wait_until(lambda: said(run, "companion b ("), "the end of b")
    run.stop()
    records = [json.loads(line) for line in run.lines("t")]
    a, b = (next(r for r in records if r["event"] == "companion" and r["name"] == name) for name in "ab")
    ends = {each["name"]: each for each in records if each["event"] == "companion-ended"}
    assert (ends["a"]["pid"], ends["a"]["status"], ends["a"]["again"]) == (a["pid"], 0, None)
    assert ends["b"]["t"] < 0 < ends["a"]["t"]
    assert not any(b["pid"] in each.get("pids", ()) for each in records)
    assert [each["signal"] for each in records if each["event"] == "told" and a["pid"] in each["pids"]] == ["SIGTERM"]
    (drawn,) = record.parse(run.lines("t"))
    assert [(process.name, process.how) for process in drawn.processes if process.name in "ab"] == [
        ("a", "exit 0"),
        ("b", "exit 0"),
    ]
    assert drawn.unseen == 0
