"""A stop loses nothing: the newest checkpoint of training that never heard of SIGTERM is in the model directory, whole.

SMENTRY_ROUNDS says how many containers each of these tests stops; SMENTRY_SEED repeats its random moments. SMENTRY_LONG
adds a stop that uses all of its 120 s.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, wait_until

from . import checkpoints
from .containers import Engine, docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .containers import Container

ROUNDS = int(os.environ.get("SMENTRY_ROUNDS", "4"))
SEED = int(os.environ.get("SMENTRY_SEED") or random.SystemRandom().randrange(1 << 32))
AT_ONCE = 4
WAITING_AT_ONCE = 6

MANY = 20
"""So many rounds must show both sides of what is left to chance."""


class Round:
    """One container of a test that stops many: its number, its own chance, its own engine and directory."""

    def __init__(self, test: str, number: int, image: str, tmp_path: Path) -> None:
        self.number = number
        self.chance = random.Random(f"{SEED}/{test}/{number}")
        self.directory = tmp_path / f"{tmp_path.name}-{number}"
        self.directory.mkdir()
        self.ml = self.directory / "ml"
        self.model = self.ml / "model"
        self.model.mkdir(parents=True)
        (self.ml / "checkpoints").mkdir()
        self.engine = Engine(image, self.directory)

    def start(self, config: str, *command: str, mounts: tuple[str, ...] = (), **environment: str) -> Container:
        """Start a container with this configuration file, in which /opt/ml is `ml`, unless `mounts` are what is mounted."""
        file = self.directory / "smentry.yaml"
        file.write_text(config, encoding="utf-8")
        options = ["--volume", f"{file}:/etc/smentry.yaml:ro"]
        for mount in mounts or (f"{self.ml}:/opt/ml",):
            options += ["--volume", mount]
        return self.engine.start(*command, options=options, environment=environment)

    @property
    def leftovers(self) -> list[str]:
        """What a copy that was killed has left, beside the model or in it."""
        return [str(path) for path in (*self.ml.glob(".*"), *self.model.glob(".*"))]


def rounds(test: Callable[[Round], str], name: str, image: str, tmp_path: Path, at_once: int) -> list[str]:
    """Do all rounds of a test, several at a time; what each of them returned. Fails with all that has failed."""
    print(f"SMENTRY_SEED={SEED} SMENTRY_ROUNDS={ROUNDS}")

    def one(number: int) -> tuple[str, str]:
        this = Round(name, number, image, tmp_path)
        try:
            outcome = test(this)
        except BaseException as failure:  # a failed wait too is one round's failure
            return "", f"round {number}: {type(failure).__name__}: {failure}"
        finally:
            this.engine.close()
        shutil.rmtree(this.directory)
        return outcome, ""

    with ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(one, range(ROUNDS)))
    failures = [failure for _, failure in results if failure]
    assert not failures, f"SMENTRY_SEED={SEED}: {len(failures)} of {ROUNDS}\n\n" + "\n\n".join(failures[:20])
    return [outcome for outcome, _ in results]


# Training that never heard of SIGTERM.

TRAIN = ("--train", "python3 /opt/programs/careless.py", "train")
SETTLED = 1.0
MARKED, LEFT_ALONE = "complete: done", f"settled: {SETTLED:g}s"


def copies(choice: str) -> str:
    """A configuration that copies the newest checkpoint after a stop."""
    copy = f'{{newest: "/opt/ml/checkpoints/*", to: /opt/ml/model, {choice}}}'
    return f"hooks:\n  - on: stopped\n    copy: {copy}\n    timeout: 60s\n"


def test_the_newest_checkpoint_of_a_program_that_just_dies_is_in_the_model_directory(
    image: str, tmp_path: Path
) -> None:
    outcomes = rounds(_stop_at_a_random_moment, "newest", image, tmp_path, AT_ONCE)
    torn = outcomes.count("torn")
    print(f"{len(outcomes)} stops, {torn} of them in the middle of a checkpoint")
    assert torn or ROUNDS < MANY
    assert torn < ROUNDS or ROUNDS < MANY


def _stop_at_a_random_moment(this: Round) -> str:
    """With a file that says which checkpoint is complete, and without; /opt/ml is mounted, or the model directory is."""
    choice = (MARKED, LEFT_ALONE)[this.number % 2]
    mounts = ((f"{this.ml}:/opt/ml",), (f"{this.model}:/opt/ml/model", f"{this.ml}/checkpoints:/opt/ml/checkpoints"))
    interval = 1.0 if this.number < 2 else 0.4
    checkpoints.write(this.model, 0, 3, 1000)
    container = this.start(copies(choice), *TRAIN, mounts=mounts[this.number // 2 % 2], INTERVAL=f"{interval}")
    container.ready()
    wait = this.chance.uniform(0, 3 * interval) + (0 if choice is MARKED else SETTLED)
    until = time.monotonic() + wait
    wait_until(lambda: time.monotonic() >= until, "the moment")
    before = time.time()
    assert container.stop() == 143, container.output
    assert container.seconds < LIMIT, container.output
    found = {int(path.name[5:]): path for path in (this.ml / "checkpoints").iterdir()}
    whole = sorted(number for number, path in found.items() if checkpoints.is_whole(path))
    saved = checkpoints.step(this.model)
    if choice is MARKED:
        marked = max(number for number, path in found.items() if (path / "done").exists())
        assert saved == marked, f"{saved} of {whole}, marked {marked}\n{container.output}"
    else:
        settled = [number for number in whole if checkpoints.last_change(found[number]) <= before - SETTLED]
        assert saved in whole, f"{saved} of {whole}\n{container.output}"
        assert saved >= max(settled), f"{saved} of {whole}, settled {settled}\n{container.output}"
    assert this.leftovers == []
    return "torn" if len(whole) < len(found) else "whole"


# Killed during the copy.

OLD, NEW = 1, 2
BIG = (8, 25_000_000)
CROWD = (10_000, 4_000)
FORMER = (2_000, 1_000)


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[dict[tuple[int, int], Path]]:
    """Checkpoints that take long to copy, a few big files and many small ones: files and size → where it is."""
    found = {}
    for files, size in (BIG, CROWD):
        found[files, size] = tmp_path / f"source{files}"
        checkpoints.write(found[files, size] / "step-2" / "weights", NEW, files, size)
    yield found
    for path in found.values():
        shutil.rmtree(path)


def test_killed_during_the_copy_the_model_directory_holds_the_old_or_the_new_one_whole(
    image: str, tmp_path: Path, sources: dict[tuple[int, int], Path]
) -> None:
    outcomes = rounds(lambda this: _kill_during_the_copy(this, sources), "killed", image, tmp_path, 2)
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    assert any("old, while it was copied" in outcome for outcome in outcomes) or ROUNDS < MANY, counts
    assert any("new" in outcome for outcome in outcomes), counts


def _kill_during_the_copy(this: Round, sources: dict[tuple[int, int], Path]) -> str:
    """From its first moment on to some time after it, in each layout. Another hook keeps the container alive then."""
    source = sources[(BIG, CROWD)[this.number % 2]]
    inside = this.number // 2 % 2 == 1  # as a mount point it is replaced entry by entry, of which there is one
    mounts = (f"{source}:/opt/ml/checkpoints:ro",)
    mounts += (f"{this.model}:/opt/ml/model",) if inside else (f"{this.ml}:/opt/ml",)
    checkpoints.write(this.model / "weights", OLD, *FORMER)
    later = "  - on: exit\n    run: [sleep, '1000']\n    timeout: 30s\n"
    container = this.start(copies("settled: 0s") + later, "--train", "sleep 1000", "train", mounts=mounts)
    wait_until(lambda: "is pid" in container.output, "the program")
    place = this.model if inside else this.ml
    container.kill("TERM")

    def copied() -> bool:
        return len(os.listdir(this.model / "weights")) != FORMER[0]

    wait_until(lambda: list(place.glob(".*smentry-*")) or copied(), f"the copy to begin; {container.output}")
    began = time.monotonic()
    # Every few rounds for sure when it has been copied; at all other times whenever that is.
    moment = 0.0 if this.number % 4 == 0 else this.chance.uniform(0, 1.5)
    surely = this.number % 4 == 3
    wait_until(lambda: copied() if surely else time.monotonic() - began >= moment, f"the moment; {container.output}")
    container.kill("KILL")
    wait_until(lambda: not container.runs(), "the end")
    assert container.code == 137
    saved = checkpoints.step(this.model / "weights")
    assert [path.name for path in this.model.iterdir() if not path.name.startswith(".")] == ["weights"]
    outcome = (
        f"{'old' if saved == OLD else 'new'}, {'while it was copied' if this.leftovers else 'and nothing left over'}"
    )
    if saved == OLD:
        assert this.leftovers, container.output
        # The next one clears up, and brings the new one.
        container = this.start(copies("settled: 0s"), "--train", "sleep 1000", "train", mounts=mounts)
        wait_until(lambda: "is pid" in container.output, "the program")
        assert container.stop() == 143, container.output
        assert checkpoints.step(this.model / "weights") == NEW, container.output
        assert this.leftovers == []
    return outcome


# Hooks that use all of their time.

STUBBORN = (
    "trap '' TERM INT HUP QUIT; setsid sleep 1000 & (env -i setsid sleep 1000 &); while :; do sleep 0.2 & wait; done"
)


def greedy(seconds: int) -> str:
    """A configuration with hooks that take all their time, and more: `seconds` each."""
    hook = f'run: [sh, -c, "{STUBBORN}"], timeout: {seconds}s'
    events = ("stopping", "stopping", "stopped", "exit")
    return "hooks:\n" + "".join(f"  - {{on: {event}, {hook}}}\n" for event in events)


def used(container: Container, timeout: int) -> float:
    """Stop a container; by the engine's own clock, how long that took. Fails where the engine had to kill it."""
    began = time.time()
    container.stop(timeout)
    events = docker(
        *("events", "--since", f"{began - 1:.3f}", "--until", f"{time.time() + 1:.3f}"),
        *("--filter", f"container={container.identity}", "--filter", "event=kill", "--format", "{{json .}}"),
    )
    kills = [json.loads(line) for line in events.stdout.splitlines()]
    assert [kill["Actor"]["Attributes"]["signal"] for kill in kills] == ["15"], kills
    finished, _, fraction = container.inspect("{{.State.FinishedAt}}").rstrip("Z").partition(".")
    whole = datetime.datetime.fromisoformat(finished).replace(tzinfo=datetime.timezone.utc).timestamp()
    assert container.inspect("{{.State.OOMKilled}}") == "false"
    return whole + float(f"0.{fraction}") - kills[0]["timeNano"] / 1e9


def _use_all_the_time(this: Round, timeout: int, seconds: int) -> str:
    config = f"stop_timeout: {timeout}s\n{greedy(seconds)}"
    container = this.start(config, "python3", "/opt/programs/ignorer.py")
    container.ready()
    took = used(container, timeout)
    assert took < timeout, f"{took:.3f} s\n{container.output}"
    assert container.output.count(": its time was over") == 4, container.output
    assert container.code == 137
    return f"{took:.3f}"


def test_with_hooks_that_use_all_their_time_the_container_ends_by_itself_in_time(image: str, tmp_path: Path) -> None:
    outcomes = rounds(
        lambda this: _use_all_the_time(this, 24, 2), "greedy", image, tmp_path, min(ROUNDS, WAITING_AT_ONCE)
    )
    print(f"seconds of 24, by the engine's clock: {' '.join(sorted(outcomes))}")


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("SMENTRY_LONG"), reason="takes two minutes: set SMENTRY_LONG")
def test_with_hooks_that_use_all_of_120_s_the_container_ends_by_itself(image: str, tmp_path: Path) -> None:
    this = Round("long", 0, image, tmp_path)
    try:
        print(f"{_use_all_the_time(this, 120, 20)} s of 120")
    finally:
        this.engine.close()
