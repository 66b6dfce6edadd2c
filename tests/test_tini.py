"""What tini documents holds for smentry under the same letters; beside it the real tini, where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from running import MODES, SMENTRY, Starter, program, stat, surroundings, wait_until

from smentry.pid1 import lifecycle, signals

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.together

INITS = {"smentry": SMENTRY, "tini": ("tini",)}
beside_tini = pytest.mark.parametrize("init", ["smentry", pytest.param("tini", marks=pytest.mark.slow)])
QUICK = ("--stop-timeout", "10", "--linger", "1")

KILLING = sorted(
    set(signal.valid_signals())
    - {signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    - {signal.SIGURG, signal.SIGWINCH}
    - set(range(signal.SIGRTMIN + 2, signal.SIGRTMAX))
)
"""Every signal whose default action ends a process; of the real-time ones some (signal(7))."""


def command(init: str) -> Sequence[str]:
    if shutil.which(INITS[init][0]) is None:
        pytest.skip(f"{init} is not installed")
    return INITS[init]


# Exit codes.


def test_every_exit_code_is_passed_on_and_is_0_when_it_means_success(start: Starter) -> None:
    for code in range(256):
        assert lifecycle.exit_code(lifecycle.Plan(), ended(code << 8)) == code
        assert lifecycle.exit_code(lifecycle.Plan(success=frozenset((code,))), ended(code << 8)) == 0
        assert lifecycle.exit_code(lifecycle.Plan(success=frozenset((code ^ 1,))), ended(code << 8)) == code


def ended(status: int) -> lifecycle.State:
    state = lifecycle.State()
    state.main_status = status
    return state


@beside_tini
@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_an_exit_code_of_a_real_program(init: str, code: int, start: Starter) -> None:
    program = ["sh", "-c", f"exit {code}"]
    assert start(program, init=command(init)).end() == code
    assert start(program, "-e", str(code), init=command(init)).end() == 0
    assert start(program, "-e", "77", "-e", str(code), "-e", "78", init=command(init)).end() == 0
    assert start(program, "-e", str(code ^ 1), init=command(init)).end() == code


@beside_tini
@pytest.mark.parametrize("number", KILLING, ids=signals.name)
def test_128_and_the_signal_that_killed(init: str, number: int, start: Starter) -> None:
    """A core dump or not makes no difference (waitpid(2), the bit 0x80)."""
    run = start(["sh", "-c", f"ulimit -c 0; kill -{number} $$"], init=command(init))
    assert run.end() == 128 + number


@beside_tini
def test_128_and_the_signal_may_mean_success(init: str, start: Starter) -> None:
    run = start(["sleep", "1000"], "-e", "143", init=command(init))
    wait_until(lambda: "sleep" in run.alive().values(), "the program")
    assert run.stop() == 0


@beside_tini
@pytest.mark.parametrize(
    ("name", "code"), [("/no/such/program", 127), ("no-such-program-on-path", 127), ("/etc/passwd", 126), ("/", 126)]
)
def test_what_cannot_be_run(init: str, name: str, code: int, start: Starter) -> None:
    run = start([name], init=command(init))
    assert run.end() == code
    assert name in run.stderr


# Signals.


@beside_tini
def test_mask_and_ignored_signals_are_handed_down(init: str, start: Starter) -> None:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGRTMAX])
        for number in (signal.SIGHUP, signal.SIGTTOU, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    status = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]
    bare = subprocess.run(status, preexec_fn=prepare, capture_output=True, text=True, check=True)
    run = start(status, init=command(init), preexec=prepare)
    assert run.end() == 0
    assert run.stdout == bare.stdout


PASSED_ON = sorted({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCONT, signal.SIGWINCH})
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


@beside_tini
@pytest.mark.parametrize("mode", MODES)
def test_signals_are_passed_on_in_turn(init: str, mode: str, start: Starter) -> None:
    run = start(program("listener.py"), init=command(init), mode=mode)
    run.wait_for("ready")
    heard = []
    for number in [*PASSED_ON, signal.SIGRTMIN, signal.SIGRTMIN + 5, signal.SIGRTMAX]:
        run.send(number)
        heard.append(number.name if isinstance(number, signal.Signals) else f"SIGRTMIN+{number - signal.SIGRTMIN}")
        wait_until(lambda: len(run.lines("signals")) == len(heard), f"{heard[-1]}; heard {run.lines('signals')}")
    assert run.lines("signals") == heard
    assert run.stop() == 0


@beside_tini
@pytest.mark.parametrize("options", [[], ["-g"], ["-c"]], ids=["default", "-g", "-c"])
def test_to_the_group_or_to_the_main_process(init: str, options: list[str], start: Starter) -> None:
    if init == "tini" and options == ["-c"]:
        pytest.skip("tini has no -c; it is what tini does by default")
    listener = " ".join(program("listener.py"))
    shell = [
        "sh",
        "-c",
        f"trap '' USR1; trap 'echo x >> $STATE/shell' USR2; STATE=$STATE {listener} & wait; wait; wait",
    ]
    run = start(shell, *options, init=command(init))
    run.wait_for("ready")
    run.send(signal.SIGUSR1)
    if options == ["-g"] or (init == "smentry" and not options):
        wait_until(lambda: run.lines("signals") == ["SIGUSR1"], "the listener in the group to hear it")
    run.send(signal.SIGUSR2)
    run.wait_for("shell")
    if options == ["-c"] or (init == "tini" and not options):
        assert run.lines("signals") == []


@pytest.mark.parametrize("value", ["", "1"])
def test_tini_kill_process_group(value: str, start: Starter) -> None:
    run = start(program("workers.py"), *QUICK, TINI_KILL_PROCESS_GROUP=value)
    run.wait_for("ready")
    assert run.stop() == 1
    assert run.has("lost")


@beside_tini
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_parent_death(init: str, number: signal.Signals, start: Starter) -> None:
    """The real parent dies of SIGKILL."""
    words = [*command(init), "-p", number.name, "--", *program("listener.py")]
    run = start(['"$@" & echo $$ > $STATE/parent; wait', "sh", *words], init=["sh", "-c"], separator=[], before=["env"])
    run.wait_for("ready")
    run.wait_for("parent")
    os.kill(int(run.read("parent")), signal.SIGKILL)
    wait_until(lambda: run.lines("signals") == [number.name], "the signal of the death")
    if number == signal.SIGTERM:
        wait_until(lambda: not run.alive(), "the end of all")


# Orphans.


@beside_tini
@pytest.mark.parametrize("how", ["-s", "TINI_SUBREAPER"])
def test_orphans_come_to_a_subreaper(init: str, how: str, start: Starter) -> None:
    """For smentry both are needless."""
    options = ["-s"] if how == "-s" else []
    variables = {} if how == "-s" else {"TINI_SUBREAPER": ""}
    run = start(["sh", "-c", "(sleep 1000 &) ; exec sleep 2000"], *options, init=command(init), **variables)
    wait_until(lambda: len(run.children()) == 2, "the orphan")
    assert run.stop() == 128 + signal.SIGTERM


@beside_tini
def test_reaped_orphans_are_warned_of(init: str, start: Starter) -> None:
    run = start(program("orphans.py"), "-s", "-w", init=command(init), ORPHANS="3")
    assert run.end() == 0
    assert run.stderr.lower().count("reaped") == 3


def test_without_w_they_are_not(start: Starter) -> None:
    run = start(program("orphans.py"), ORPHANS="3")
    assert run.end() == 0
    assert "reaped" not in run.stderr


# What is said.


@pytest.mark.parametrize(("level", "lines"), [("0", 0), ("1", 2), ("3", 2)])
def test_tini_verbosity(level: str, lines: int, start: Starter) -> None:
    run = start(["true"], TINI_VERBOSITY=level)
    assert run.end() == 0
    assert len(run.stderr.splitlines()) >= lines
    assert bool(run.stderr) == bool(lines)


def test_v_says_more(start: Starter) -> None:
    texts = []
    for options in ([], ["-vvv"]):
        run = start(program("listener.py"), *options)
        run.wait_for("ready")
        run.send(signal.SIGUSR1)
        wait_until(lambda run=run: run.lines("signals") == ["SIGUSR1"], "the signal")
        run.stop()
        texts.append(run.stderr)
    assert "SIGUSR1" not in texts[0]
    assert "SIGUSR1" in texts[1]


@pytest.mark.parametrize("option", ["-h", "--help", "-V", "--version", "-l", "--license"])
def test_questions_are_answered_on_stdout(option: str, start: Starter) -> None:
    done = subprocess.run([*SMENTRY, option], env=surroundings(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "smentry" in done.stdout


def test_tinis_separator_is_kept(start: Starter) -> None:
    run = start(["echo", "-g", "--", "-h"], "-g")
    assert run.end() == 0
    assert run.stdout == "-g -- -h\n"


def test_the_program_has_its_own_process_group(start: Starter) -> None:
    run = start(program("listener.py"), *QUICK)
    run.wait_for("ready")
    (child,) = run.children()
    assert stat(child)[2] == str(child)
