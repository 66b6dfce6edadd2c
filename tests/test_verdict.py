"""What is said of a run that failed: of reports made by hand, with the ends of what real programs wrote."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry import masking, verdict
from smentry.errors import NOT_FOUND, RefusedError
from smentry.pid1.evidence import Evidence
from smentry.pid1.report import Death, HookFailure, Report

TAILS = Path(__file__).parent / "tails"
GIB, MIB = 1 << 30, 1 << 20


def report(status: int | None, **facts: object) -> Report:
    """A run whose main process ended with this wait status after 132 s."""
    made = Report("train.py")
    made.pid, made.lasted, made.grace = 17, 132.0, 110.0
    made.status = status
    made.code = 137 if status is None else 128 + (status & 0x7F) if status & 0x7F else status >> 8
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def ran(program: str, directory: Path, **facts: object) -> Report:
    """A run of a Python program, as it ended and with what it wrote."""
    file = directory / "train.py"
    file.write_text(program, encoding="utf-8")
    process = subprocess.run([sys.executable, str(file)], cwd=directory, capture_output=True, timeout=60, check=False)
    status = -process.returncode if process.returncode < 0 else process.returncode << 8
    return report(status, tail=process.stderr, **facts)


def evidence(kills: int | None = 0, limit: int | None = GIB, peak: int | None = GIB, **facts: int) -> Evidence:
    found = Evidence()
    found.oom_kills, found.memory_limit, found.memory_peak = kills, limit, peak
    for name, value in facts.items():
        setattr(found, name, value)
    return found


def exited(code: int) -> int:
    return code << 8


# The first line, and what is behind it.


def test_an_exception(tmp_path: Path) -> None:
    program = "def fit(a, b):\n    raise ValueError(f'shapes {a} and {b} do not match')\nfit((3,), (4,))\n"
    found = verdict.explain(ran(program, tmp_path))
    assert found.line == "train.py exited with code 1 after 132 s: ValueError: shapes (3,) and (4,) do not match"
    assert found.news
    assert found.text.splitlines() == [
        found.line,
        "Traceback (most recent call last):",
        f'  File "{tmp_path}/train.py", line 3, in <module>',
        "    fit((3,), (4,))",
        f'  File "{tmp_path}/train.py", line 2, in fit',
        "    raise ValueError(f'shapes {a} and {b} do not match')",
    ]


def test_a_code_alone_says_no_more_than_the_log_has_already(tmp_path: Path) -> None:
    found = verdict.explain(ran("raise SystemExit(3)", tmp_path))
    assert (found.text, found.news) == ("train.py exited with code 3 after 132 s", False)


def test_a_text_for_sys_exit(tmp_path: Path) -> None:
    found = verdict.explain(ran("import sys\nsys.exit('no data in /opt/ml/input/data/train')\n", tmp_path))
    assert found.text == "train.py exited with code 1 after 132 s; on stderr: no data in /opt/ml/input/data/train"
    assert found.news


def test_an_exception_long_before_is_said_to_be_that(tmp_path: Path) -> None:
    program = (
        "import logging, sys\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('skipped')\n"
        "for i in range(1000):\n    print('step', i, file=sys.stderr)\nsys.exit(3)\n"
    )
    assert verdict.explain(ran(program, tmp_path)).line.endswith(
        "; the last exception, long before that: ZeroDivisionError: division by zero"
    )


def test_a_host_among_several_is_named_first() -> None:
    assert verdict.explain(report(exited(3)), host="algo-2").line == "algo-2: train.py exited with code 3 after 132 s"


def test_of_a_long_traceback_the_end_is_kept_and_the_users_own_line(tmp_path: Path) -> None:
    program = (
        "import json\n"
        "class Odd(dict):\n    pass\n"
        "def save(state):\n    return json.dumps(state, indent=1, default=lambda o: json.dumps([[[[[[o]]]]]], indent=1))\n"
        "save({'net': object()})\n"
    )
    found = verdict.explain(ran(program, tmp_path))
    lines = found.text.splitlines()
    assert "TypeError: Object of type object is not JSON serializable" in lines[0]
    assert len(found.text) <= verdict.LIMIT
    assert "…" in lines
    assert f'  File "{tmp_path}/train.py", line 5, in ' in found.text


def test_no_text_is_longer_than_the_platform_reads_and_cuts_are_marked() -> None:
    long = report(exited(1), tail=("für ∞ 🤗 " * 60 + "\n").encode() * 200)
    found = verdict.explain(long)
    assert 700 < len(found.text) <= verdict.LIMIT
    assert found.text.splitlines()[0].endswith("…")
    assert "\n…\n" in found.text or found.text.splitlines()[1].startswith("…")


def test_a_letter_is_not_torn_from_its_accents() -> None:
    for length in range(280, 330):
        line = "x" * length + "e\u0301\u0323" * 100
        text = verdict.explain(report(exited(1), tail=line.encode())).text
        for part in text.splitlines():
            assert part.lstrip("…")[:1] not in ("\u0301", "\u0323")
            end = part.find("…")
            assert end <= 0 or part[end - 1] != "e"


def test_a_code_that_the_program_has_chosen_is_not_put_down_to_an_exception(tmp_path: Path) -> None:
    caught = "import logging, sys\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('skipped')\n"
    chosen = verdict.explain(ran(caught + "sys.exit(3)\n", tmp_path))
    assert chosen.line == (
        "train.py exited with code 3 after 132 s; the last exception on stderr: ZeroDivisionError: division by zero"
    )


# Memory.


def test_the_main_process_was_killed_for_lack_of_memory() -> None:
    found = verdict.explain(report(signal.SIGKILL, evidence=evidence(1, GIB, GIB - 4096)))
    assert found.line == (
        "train.py was killed by the kernel for lack of memory after 132 s: limit 1.0 GiB, peak 1.0 GiB"
    )
    assert found.news


def test_a_worker_was_killed_for_lack_of_memory_and_the_program_ended_of_that(tmp_path: Path) -> None:
    program = (
        "import concurrent.futures, os\ndef f(x):\n    os.kill(os.getpid(), 9)\n"
        "if __name__ == '__main__':\n    with concurrent.futures.ProcessPoolExecutor(1) as pool:\n"
        "        list(pool.map(f, [1]))\n"
    )
    killed = verdict.explain(ran(program, tmp_path, evidence=evidence(2, 512 * MIB, 512 * MIB))).line
    assert ": out of memory: the kernel killed 2 processes of it: limit 512 MiB, peak 512 MiB; concurrent." in killed
    assert "memory" not in verdict.explain(ran(program, tmp_path, evidence=evidence(0))).text


def test_an_exception_that_has_nothing_to_do_with_a_kill_for_memory_comes_first(tmp_path: Path) -> None:
    found = verdict.explain(ran("raise KeyError('labels')", tmp_path, evidence=evidence(1)))
    assert found.line == "train.py exited with code 1 after 132 s: KeyError: 'labels'"
    assert "The kernel killed a process of it for lack of memory: limit 1.0 GiB, peak 1.0 GiB" in found.text


@pytest.mark.parametrize(
    ("seen", "known"),
    [
        (evidence(0, 4 * GIB, 1 * GIB), "not for lack of memory in this container (limit 4.0 GiB, peak 1.0 GiB)"),
        (evidence(0, None, None), "not for lack of memory in this container (no limit)"),
        (evidence(None), "whether for lack of memory is not known"),
        (None, "whether for lack of memory is not known"),
    ],
)
def test_a_sigkill_without_evidence_is_not_called_a_lack_of_memory(seen: Evidence | None, known: str) -> None:
    found = verdict.explain(report(signal.SIGKILL, evidence=seen))
    assert found.line == "train.py was killed by SIGKILL, and not by smentry, after 132 s"
    assert known in found.text


def test_a_shell_whose_program_was_killed_for_lack_of_memory() -> None:
    found = verdict.explain(report(exited(137), tail=b"Killed\n", evidence=evidence(1)))
    assert ": out of memory: the kernel killed a process of it: limit 1.0 GiB, peak 1.0 GiB" in found.line


# Signals.


@pytest.mark.parametrize("status", [signal.SIGBUS, exited(128 + signal.SIGBUS)])
def test_a_full_shared_memory(status: int) -> None:
    found = verdict.explain(report(status, evidence=evidence(shm_size=64 * MIB, shm_free=4096)))
    assert "/dev/shm is full: 64 MiB. Give it more (docker run --shm-size), or use fewer loader workers" in found.text
    empty = verdict.explain(report(status, evidence=evidence(shm_size=64 * MIB, shm_free=63 * MIB)))
    assert "/dev/shm has 64 MiB, of which 63 MiB are free now" in empty.text


def test_a_loader_worker_that_died_of_a_full_shared_memory() -> None:
    tail = (TAILS / "loader.txt").read_bytes()
    found = verdict.explain(report(exited(1), tail=tail, evidence=evidence(shm_size=64 * MIB, shm_free=0)))
    assert "DataLoader worker" in found.line
    assert "/dev/shm is full" in found.text


@pytest.mark.parametrize(
    ("number", "known"),
    [
        (signal.SIGILL, "was built for another CPU"),
        (signal.SIGSEGV, "PYTHONFAULTHANDLER=1 shows where"),
        (signal.SIGFPE, "divided by zero in native code"),
        (signal.SIGSYS, "seccomp"),
        (signal.SIGTERM, "did not come through smentry"),
    ],
)
def test_what_is_known_of_a_signal(number: int, known: str) -> None:
    found = verdict.explain(report(number))
    assert found.line == f"train.py died of {signal.Signals(number).name} after 132 s"
    assert not found.news
    assert known in found.text


def test_a_crash_with_faulthandler(tmp_path: Path) -> None:
    program = "import ctypes, faulthandler\nfaulthandler.enable()\ndef step():\n    ctypes.string_at(0)\nstep()\n"
    found = verdict.explain(ran(program, tmp_path))
    assert found.line == "train.py died of SIGSEGV after 132 s: Fatal Python error: Segmentation fault"
    assert f'  File "{tmp_path}/train.py", line 4 in step' in found.text.splitlines()
    assert "PYTHONFAULTHANDLER" not in found.text


def test_an_abort_says_what_the_library_said() -> None:
    tail = (TAILS / "nccl-watchdog.txt").read_bytes()
    assert verdict.explain(report(signal.SIGABRT, tail=tail)).line.startswith(
        "train.py died of SIGABRT after 132 s: c10::DistBackendError: [PG ID 0"
    )


def test_processes_that_died_beside_it_are_named() -> None:
    found = verdict.explain(report(exited(1), deaths=[Death(33, signal.SIGSEGV), Death(34, signal.SIGKILL | 0x80)]))
    assert "Other processes of it died: pid 33 of SIGSEGV, pid 34 of SIGKILL" in found.text


# Shells.


def test_a_command_that_a_shell_did_not_find() -> None:
    ran = subprocess.run(["sh", "-c", "no-such-command"], capture_output=True, timeout=60, check=False)
    found = verdict.explain(report(exited(ran.returncode), tail=ran.stderr), path="/usr/bin:/bin")
    assert found.line.startswith("train.py exited with code 127 after 132 s; on stderr: sh: ")
    assert "did not find on PATH (/usr/bin:/bin)" in found.text


# A stop.


def test_a_stop_that_was_not_enough() -> None:
    killed = report(
        signal.SIGKILL, reason="SIGTERM", stopping=110.0, killed="the program's time is over", killed_main=True,
        victims=["train.py (17)", "python3 (18)"], tail=b"saving layer 3 of 80\n",
    )  # fmt: skip
    found = verdict.explain(killed)
    assert found.line == (
        "train.py was still saving when its 110 s were over, or paid SIGTERM no heed: killed after 132 s"
    )
    assert found.text.splitlines()[1:] == [
        "SIGTERM had come 110 s before; killed: train.py (17), python3 (18)",
        "saving layer 3 of 80",
    ]
    assert found.news


def test_a_second_sigint_kills_and_that_is_no_lack_of_time() -> None:
    killed = report(signal.SIGKILL, reason="SIGINT", killed="a second SIGINT came", killed_main=True)
    assert verdict.explain(killed).line == "train.py was killed by smentry after 132 s: a second SIGINT came"


def test_a_program_that_died_of_the_stop_says_nothing_new() -> None:
    found = verdict.explain(report(signal.SIGTERM, reason="SIGTERM", stopping=0.25, tail=b"step 7\n"))
    assert found.line == "train.py died of SIGTERM after 132 s, 0.25 s into the stop that SIGTERM asked for"
    assert not found.news


def test_an_exception_while_saving(tmp_path: Path) -> None:
    failed = ran("raise OSError(28, 'No space left on device')", tmp_path, reason="max-runtime", stopping=3.0)
    found = verdict.explain(failed)
    assert found.line == (
        "train.py exited with code 1 after 132 s, 3.0 s into the stop that --max-runtime asked for:"
        " OSError: [Errno 28] No space left on device"
    )
    assert found.news


def test_a_companion_whose_end_stopped_the_program() -> None:
    found = verdict.explain(
        report(
            signal.SIGTERM,
            code=1,
            reason="nginx ended",
            companion="companion nginx (9) ended with exit code 1",
            stopping=0.5,
        )
    )
    assert found.line.startswith("companion nginx (9) ended with exit code 1; train.py died of SIGTERM after 132 s")


def test_a_process_that_could_not_be_killed() -> None:
    assert verdict.explain(report(None)).line == "train.py could not be killed after 132 s"


# Before the program, and smentry itself.


def hook(name: str, *lines: str, code: int = 1) -> HookFailure:
    return HookFailure(
        "start",
        name,
        f"start hook {name} (12) ended with exit code {code}",
        list(lines),
        required=True,
        status=code << 8,
    )


def test_requirements_that_cannot_be_installed() -> None:
    retry = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<x at 0x7f>: Failed to establish"
        " a new connection: [Errno -3] Temporary failure in name resolution')': /simple/no-such/"
    )
    lines = (
        *[retry] * 5,
        "ERROR: Could not find a version that satisfies the requirement no-such==1 (from versions: none)",
        "ERROR: No matching distribution found for no-such==1",
        "",
        "[notice] A new release of pip is available: 24.0 -> 25.1",
    )
    failed = report(None, pid=0, code=1, hooks=[hook("requirements", *lines)], refusal="…; the program was not started")
    found = verdict.explain(failed)
    assert found.line == (
        "start hook requirements (12) ended with exit code 1, so train.py was not started:"
        " No matching distribution found for no-such==1"
    )
    assert "The package index cannot be reached ([Errno -3] Temporary failure in name resolution): " in found.text
    assert "Retrying" not in found.text
    assert "requirement no-such==1 (from versions: none)" in found.text
    assert not found.news


def test_a_start_hook_with_a_traceback(tmp_path: Path) -> None:
    lines = ran("raise KeyError('bucket')", tmp_path).tail.decode().splitlines()
    found = verdict.explain(report(None, pid=0, code=1, hooks=[hook("fetch", *lines)], refusal="x"))
    assert found.line.endswith("so train.py was not started: KeyError: 'bucket'")


def test_what_comes_before_the_program_may_be_killed_for_lack_of_memory() -> None:
    text = "start hook requirements (12) died of SIGKILL"
    killed = HookFailure("start", "requirements", text, ["Building wheel"], required=True, status=signal.SIGKILL)
    found = verdict.explain(report(None, pid=0, code=1, hooks=[killed], evidence=evidence(1), refusal="x"))
    assert found.line.startswith(
        f"{text}, so train.py was not started: the kernel killed it for lack of memory: limit "
    )


def test_a_hook_that_failed_beside_it_is_mentioned() -> None:
    copy = HookFailure("stopped", "copy", "stopped hook copy (40) ended with exit code 1", [], required=False)
    assert (
        "Also: stopped hook copy (40) ended with exit code 1" in verdict.explain(report(exited(1), hooks=[copy])).text
    )


def test_a_program_that_could_not_be_started() -> None:
    refusal = "cannot run /opt/program/train: exec format error"
    found = verdict.explain(report(None, pid=0, code=126, refusal=refusal))
    assert (found.text, found.news) == (f"smentry: {refusal}", False)


def test_a_stop_before_the_program() -> None:
    assert verdict.explain(report(None, pid=0, code=143, reason="SIGTERM")).line == (
        "SIGTERM came before train.py was started"
    )


def test_smentry_s_own_defect() -> None:
    found = verdict.explain(report(exited(0), code=1, defect="KeyError: 3 at x.py:7; please report this"))
    assert found.line == "smentry itself failed: KeyError: 3 at x.py:7; please report this"


def test_a_refusal_lists_as_many_places_as_there_is_room_for() -> None:
    error = RefusedError(
        "no program for train; looked at:", NOT_FOUND, tuple(f"place {n}: not there" for n in range(200))
    )
    text = verdict.refused(error, host="algo-1")
    assert text.startswith("algo-1: smentry: no program for train; looked at:\n  place 0: not there\n  place 1: ")
    assert text.endswith("\n…")
    assert len(text) <= verdict.LIMIT


# Figures.


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.004, "0.01 s"), (0.42, "0.42 s"), (1.25, "1.2 s"), (9.96, "10.0 s"), (12.4, "12 s"), (132, "132 s"), (599.4, "599 s"),
     (599.6, "600 s"), (725, "12 min 5 s"),
     (3599.9, "59 min 59 s"), (10930, "3 h 2 min"), (172800, "2 d 0 h"), (2419200, "28 d 0 h")],
)  # fmt: skip
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert verdict.people(seconds) == text


# Whatever happened.

SECRET = "hunter2-hunter2"
TEXTS = st.text(max_size=30) | st.just(SECRET) | st.just("x" * 2000)


FACTS = {
    "reason": st.sampled_from(["", "SIGTERM", "max-runtime", "nginx ended"]),
    "pid": st.sampled_from([0, 17]),
    "killed_main": st.booleans(),
    "victims": st.lists(TEXTS, max_size=9),
    "lasted": st.floats(0, 1e9),
    "stopping": st.floats(0, 200),
    **dict.fromkeys(("killed", "refusal", "defect", "companion", "label"), TEXTS),
}


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=200) | st.sampled_from([SECRET.encode(), b"Traceback (most recent call last):\n  x\nE: "])
    ),
    st.one_of(st.none(), st.integers(0, 0xFFFF)),
    st.builds(dict, **FACTS),
    st.lists(TEXTS, max_size=5),
    TEXTS,
)
def test_whatever_happened_there_is_a_text_that_fits_and_holds_no_secret(
    tail: list[bytes], status: int | None, facts: dict[str, object], lines: list[str], host: str
) -> None:
    secrets = masking.values({"API_TOKEN": SECRET})
    failed = report(status, tail=b"".join(tail), hooks=[hook("h", *lines)], evidence=evidence(1), **facts)
    found = verdict.explain(failed, host=host, mask=lambda text: masking.mask(text, secrets), path=SECRET)
    assert found.line.strip()
    assert found.text.startswith(found.line)
    assert "\n" not in found.line
    assert len(found.text) <= verdict.LIMIT
    assert SECRET not in found.text
    found.text.encode("utf-8")


def test_a_secret_of_several_lines_is_masked() -> None:
    key = "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----"
    secrets = masking.values({"DEPLOY_KEY": key})
    failed = report(exited(1), tail=f"bad key: {key}\n".encode())
    text = verdict.explain(failed, mask=lambda text: masking.mask(text, secrets)).text
    assert "abcdefgh" not in text
    assert "bad key: ***" in text


@pytest.mark.parametrize("length", range(480, 530, 7))
def test_no_part_of_a_secret_is_left_where_a_line_is_cut(length: int) -> None:
    secrets = masking.values({"API_TOKEN": SECRET})
    failed = report(None, pid=0, code=126, refusal="x" * length + SECRET * 20)
    assert "hunter" not in verdict.explain(failed, mask=lambda text: masking.mask(text, secrets)).text


# Several hosts.

GLOO = b"""Traceback (most recent call last):
  File "train.py", line 3, in <module>
RuntimeError: [pair.cc:534] Connection closed by peer
"""
FIRST = "algo-2 failed first: train.py exited with code 1 after 131 s: ValueError: bad batch"


def test_the_failure_of_another_host_comes_before_its_own() -> None:
    found = verdict.explain(report(exited(1), tail=GLOO, elsewhere=FIRST), host="algo-1")
    assert found.line == f"algo-1: {FIRST}"
    assert found.text.splitlines()[1:3] == [
        "Here train.py exited with code 1 after 132 s: RuntimeError: [pair.cc:534] Connection closed by peer",
        "Traceback (most recent call last):",
    ]
    assert found.news


@pytest.mark.parametrize(
    ("status", "how"), [(exited(0), "exited with code 0"), (signal.SIGTERM, "died of SIGTERM")], ids=["saved", "deaf"]
)
def test_a_host_that_another_one_s_failure_stopped_says_so(status: int, how: str) -> None:
    companion = "companion watch (9) ended with exit code 1"
    facts = {"companion": companion, "reason": "another host failed", "elsewhere": FIRST}
    found = verdict.explain(report(status, **facts), host="algo-3")
    assert found.line == f"algo-3: stopped because {FIRST}"
    assert found.text.splitlines()[1] == f"Here train.py {how} after 132 s"
    assert companion not in found.text


def test_a_failure_that_follows_from_a_host_that_had_ended_says_that_it_had() -> None:
    left = ["algo-2 had ended well", "algo-3 had been stopped"]
    cut_off, own = (
        verdict.explain(report(exited(1), tail=tail, left=left))
        for tail in (GLOO, GLOO.replace(b" closed by", b"s of"))
    )
    assert (cut_off.derived, own.derived) == (True, False)
    assert cut_off.text.splitlines()[1] == "Before that algo-2 had ended well, algo-3 had been stopped"
    assert "Before that" not in own.text


@pytest.mark.parametrize(
    ("status", "kills", "derived"), [(signal.SIGPIPE, 0, True), (signal.SIGKILL, 1, False), (signal.SIGKILL, 0, False)]
)
def test_of_the_deaths_by_a_signal_that_of_a_broken_pipe_follows_from_another(
    status: int, kills: int, derived: bool
) -> None:
    assert verdict.explain(report(status, evidence=evidence(kills))).derived == derived
