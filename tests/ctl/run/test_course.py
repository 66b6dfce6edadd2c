from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry.ctl.run.course import (
    COMPLETED,
    DOWNLOADING,
    FAILED,
    INTERRUPTED,
    MAX_RUNTIME,
    MESSAGES,
    STARTING,
    STOPPED,
    STOPPING,
    TRAINING,
    UPLOADING,
    Course,
    DataFailed,
    Do,
    Event,
    HostEnded,
    KillAsked,
    Plan,
    Prepared,
    Started,
    StopAsked,
    Tick,
    Uploaded,
    begin,
    step,
)

ONE = Plan(("algo-1",), max_runtime=1000)
TWO = replace(ONE, hosts=("algo-1", "algo-2"))


@dataclass
class Life:
    """A job's course, driven event by event; what it had done, and when."""

    plan: Plan
    now: float = 100.0
    mortal: bool = False
    """Whether hosts end when they are killed."""
    did: list[tuple[Do, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.course, deeds = begin(self.plan, self.now - 1, self.now)
        self.note(deeds)

    def note(self, deeds: tuple[Do, ...]) -> None:
        self.did += [(deed, self.now) for deed in deeds]
        if self.mortal and Do.KILL in deeds:
            self.give(*[HostEnded(host, 137) for host in sorted(self.course.running)])

    def give(self, *events: Event) -> Life:
        for event in events:
            self.course, deeds = step(self.course, event, self.now)
            self.note(deeds)
        return self

    def until(self, now: float) -> Life:
        """Let time pass, with a Tick whenever the course wants one."""
        due = self.course.due()
        while due is not None and due <= now:
            self.now = max(self.now, due)
            self.give(Tick())
            due = self.course.due()
        self.now = now
        return self

    @property
    def statuses(self) -> list[str]:
        return [each.status for each in self.course.transitions]

    @property
    def deeds(self) -> list[Do]:
        return [deed for deed, _ in self.did]

    def when(self, deed: Do) -> float:
        return next(at for done, at in self.did if done is deed)


def test_a_job_whose_hosts_all_exit_zero_is_completed() -> None:
    life = Life(TWO).give(Prepared(), Started())
    assert life.course.status == TRAINING
    life.give(HostEnded("algo-2", 0))
    assert life.course.status == TRAINING
    life.give(HostEnded("algo-1", 0), Uploaded())
    assert life.statuses == [STARTING, DOWNLOADING, TRAINING, UPLOADING, COMPLETED]
    assert life.deeds == [Do.LAY_OUT, Do.START, Do.UPLOAD]
    assert life.course.done
    assert life.course.failed_host is None


def test_a_host_that_fails_fails_the_job_and_the_others_are_told() -> None:
    life = Life(TWO).give(Prepared(), Started(), HostEnded("algo-2", 3))
    assert life.deeds[-1] is Do.TERM
    assert life.course.running == {"algo-1"}
    life.give(HostEnded("algo-1", 143), Uploaded())
    assert life.statuses == [STARTING, DOWNLOADING, TRAINING, UPLOADING, FAILED]
    assert life.course.failed_host == "algo-2"


def test_hosts_that_outlive_a_failed_one_are_killed_after_the_stop_timeout() -> None:
    life = Life(TWO).give(Prepared(), Started(), HostEnded("algo-2", 3)).until(300)
    assert life.when(Do.KILL) == life.when(Do.TERM) + 120


def test_a_single_host_that_fails_has_nobody_to_tell_for_long() -> None:
    life = Life(ONE).give(Prepared(), Started(), HostEnded("algo-1", 1))
    assert life.course.status == UPLOADING
    assert life.course.due() is None


def test_a_stop_is_sigterm_then_sigkill_120_seconds_later() -> None:
    life = Life(ONE).give(Prepared(), Started())
    life.now = 150
    life.give(StopAsked()).until(1000)
    assert (life.when(Do.TERM), life.when(Do.KILL)) == (150, 270)
    life.give(HostEnded("algo-1", 137), Uploaded())
    assert life.statuses == [STARTING, DOWNLOADING, TRAINING, STOPPING, UPLOADING, STOPPED]


def test_no_sigkill_where_everything_ends_in_time() -> None:
    life = Life(ONE).give(Prepared(), Started(), StopAsked(), HostEnded("algo-1", 0)).until(5000)
    assert Do.KILL not in life.deeds


@pytest.mark.parametrize("code", [0, 1, 143, 137])
def test_a_job_that_was_asked_to_stop_is_stopped_whatever_the_code(code: int) -> None:
    life = Life(ONE).give(Prepared(), Started(), StopAsked(), HostEnded("algo-1", code), Uploaded())
    assert life.course.status == STOPPED
    assert life.course.failed_host is None


def test_a_job_that_had_failed_before_the_stop_stays_failed() -> None:
    life = Life(TWO).give(
        Prepared(), Started(), HostEnded("algo-1", 1), StopAsked(), HostEnded("algo-2", 0), Uploaded()
    )
    assert life.course.status == FAILED
    assert life.deeds.count(Do.TERM) == 1


def test_asked_twice_kills_at_once() -> None:
    life = Life(TWO).give(Prepared(), Started(), StopAsked(), KillAsked())
    assert life.deeds[-2:] == [Do.TERM, Do.KILL]
    assert life.course.due() is None
    life.give(HostEnded("algo-1", 137), HostEnded("algo-2", 137), Uploaded())
    assert life.course.status == STOPPED


def test_max_runtime_stops_the_job() -> None:
    life = Life(replace(ONE, max_runtime=60)).give(Prepared(), Started()).until(160)
    assert life.when(Do.TERM) == 160
    life.give(HostEnded("algo-1", 0), Uploaded())
    assert life.statuses == [STARTING, DOWNLOADING, TRAINING, STOPPING, UPLOADING, MAX_RUNTIME]


def test_stop_after_counts_from_the_start_of_the_hosts() -> None:
    life = Life(replace(ONE, stop_after=5))
    life.now = 200
    life.give(Prepared(), Started()).until(300)
    assert life.when(Do.TERM) == 205
    assert life.course.reason == STOPPED


def test_an_interruption_starts_the_job_anew_once_its_hosts_have_ended() -> None:
    life = Life(replace(TWO, interrupt_after=5)).give(Prepared(), Started()).until(106)
    life.give(HostEnded("algo-1", 143))
    assert life.course.status == INTERRUPTED
    life.give(HostEnded("algo-2", 143))
    assert life.course.status == DOWNLOADING
    assert life.course.attempt == 2
    life.give(Prepared(), Started())
    assert life.course.codes == {}
    life.until(200).give(HostEnded("algo-1", 0), HostEnded("algo-2", 0), Uploaded())
    assert life.statuses == [
        STARTING, DOWNLOADING, TRAINING, INTERRUPTED, STARTING, DOWNLOADING, TRAINING, UPLOADING, COMPLETED
    ]  # fmt: skip
    assert life.deeds == [Do.LAY_OUT, Do.START, Do.TERM, Do.LAY_OUT, Do.START, Do.UPLOAD]


def test_an_interrupted_host_that_does_not_end_is_killed_after_the_stop_timeout() -> None:
    life = Life(replace(ONE, interrupt_after=5)).give(Prepared(), Started()).until(400)
    assert life.when(Do.KILL) == 225
    life.give(HostEnded("algo-1", 137))
    assert life.course.status == DOWNLOADING


def test_max_runtime_is_for_all_attempts() -> None:
    life = Life(replace(ONE, interrupt_after=40, max_runtime=60)).give(Prepared(), Started()).until(140)
    life.give(HostEnded("algo-1", 143))
    life.now = 500  # the data of the second attempt took its time, which does not count
    life.give(Prepared(), Started()).until(519)
    assert life.course.status == TRAINING
    life.until(520)
    assert life.course.status == STOPPING
    assert life.course.reason == MAX_RUNTIME


def test_a_stop_during_an_interruption_ends_the_job_and_tells_nobody_twice() -> None:
    life = Life(replace(ONE, interrupt_after=5)).give(Prepared(), Started()).until(110).give(StopAsked())
    life.give(HostEnded("algo-1", 143), Uploaded())
    assert life.statuses == [STARTING, DOWNLOADING, TRAINING, INTERRUPTED, STOPPING, UPLOADING, STOPPED]
    assert life.deeds.count(Do.TERM) == 1


def test_a_stop_between_two_attempts_starts_nothing_more() -> None:
    life = (
        Life(replace(ONE, interrupt_after=5))
        .give(Prepared(), Started())
        .until(110)
        .give(HostEnded("algo-1", 143), StopAsked())
    )
    assert life.course.status == UPLOADING
    life.give(Prepared(), Started(), Uploaded())
    assert life.course.status == STOPPED
    assert life.deeds.count(Do.START) == 1


def test_data_that_cannot_be_had_any_more_fail_the_job() -> None:
    life = Life(ONE).give(Prepared(), Started(), DataFailed())
    assert life.deeds[-1] is Do.TERM
    life.give(HostEnded("algo-1", 0), Uploaded())
    assert life.course.status == FAILED
    assert life.course.failed_host is None
    life = Life(ONE).give(Prepared(), Started(), DataFailed(), HostEnded("algo-1", 137), Uploaded())
    assert (life.course.status, life.course.failed_host) == (FAILED, None)


def test_hosts_that_end_before_the_last_one_is_started_end_the_job() -> None:
    life = Life(TWO).give(Prepared(), HostEnded("algo-1", 0), Started(), HostEnded("algo-2", 0), Uploaded())
    assert life.course.status == COMPLETED
    life = Life(TWO).give(Prepared(), HostEnded("algo-1", 0), HostEnded("algo-2", 127), Started(), Uploaded())
    assert life.course.status == FAILED


def test_a_stop_while_the_hosts_are_started_is_told_to_them() -> None:
    life = Life(ONE).give(Prepared(), StopAsked(), Started())
    assert life.deeds == [Do.LAY_OUT, Do.START, Do.TERM]
    assert life.course.status == STOPPING


def test_every_status_has_a_message() -> None:
    assert all(each.message for each in Life(ONE).course.transitions)
    assert set(MESSAGES) >= {STARTING, DOWNLOADING, TRAINING, INTERRUPTED, STOPPING, UPLOADING, MAX_RUNTIME}


# -- whatever happens ------------------------------------------------------------------------------

plans = st.builds(
    Plan,
    hosts=st.integers(1, 3).map(lambda count: tuple(f"algo-{number}" for number in range(1, count + 1))),
    max_runtime=st.floats(1, 500),
    stop_timeout=st.floats(0, 150),
    stop_after=st.none() | st.floats(0, 600),
    interrupt_after=st.none() | st.floats(0, 600),
)
happenings = st.lists(
    st.tuples(
        st.floats(0, 200),
        st.sampled_from(["ended", "failed", "stop", "kill", "tick", "data", "prepared", "started", "uploaded"]),
        st.integers(0, 2),
    ),
    max_size=25,
)


def lived(plan: Plan, chosen: list[tuple[float, str, int]]) -> Life:
    """A job to which these happen, each after so many seconds; then everything is done that it waits for."""
    life = Life(plan, mortal=True)
    for wait, what, number in chosen:
        life.until(life.now + wait)
        host = plan.hosts[number % len(plan.hosts)]
        life.give(
            {
                "ended": HostEnded(host, 0),
                "failed": HostEnded(host, 1),
                "stop": StopAsked(),
                "kill": KillAsked(),
                "tick": Tick(),
                "data": DataFailed(),
                "prepared": Prepared(),
                "started": Started(),
                "uploaded": Uploaded(),
            }[what]
        )
    for _ in range(10):  # two attempts of laying out, starting, ending; uploading
        life.give(Prepared(), Started(), Uploaded())
        due = life.course.due()
        while due is not None:
            life.until(due)
            due = life.course.due()
    return life


@settings(max_examples=50, deadline=None)
@given(plans, happenings)
def test_a_job_always_ends(plan: Plan, chosen: list[tuple[float, str, int]]) -> None:
    assert lived(plan, chosen).course.done


@settings(max_examples=50, deadline=None)
@given(plans, happenings)
def test_the_statuses_follow_each_other_without_a_gap(plan: Plan, chosen: list[tuple[float, str, int]]) -> None:
    transitions = lived(plan, chosen).course.transitions
    for before, after in zip(transitions, transitions[1:]):
        assert before.end == after.start
        assert before.start <= after.start
    assert transitions[-1].end == transitions[-1].start


@settings(max_examples=50, deadline=None)
@given(plans, happenings)
def test_nobody_is_told_twice_and_nobody_is_killed_too_early(plan: Plan, chosen: list[tuple[float, str, int]]) -> None:
    life = lived(plan, chosen)
    told: float | None = None
    started = False
    asked = any(what == "kill" for _, what, _ in chosen)
    for deed, at in life.did:
        if deed is Do.START:
            assert not started
            started, told = True, None
        elif deed is Do.TERM:
            assert told is None
            told = at
        elif deed is Do.KILL:
            assert told is not None
            assert asked or at >= told + plan.stop_timeout
        else:
            started = False


@settings(max_examples=50, deadline=None)
@given(plans, happenings)
def test_a_job_is_interrupted_and_packed_once_at_most(plan: Plan, chosen: list[tuple[float, str, int]]) -> None:
    life = lived(plan, chosen)
    assert life.deeds.count(Do.UPLOAD) == 1
    assert life.deeds.count(Do.LAY_OUT) == life.course.attempt <= 2
    assert life.statuses.count(INTERRUPTED) <= (plan.interrupt_after is not None)


@settings(max_examples=50, deadline=None)
@given(plans, happenings)
def test_hosts_never_run_longer_than_the_limit_and_one_stop_timeout(
    plan: Plan, chosen: list[tuple[float, str, int]]
) -> None:
    life = lived(plan, chosen)
    assert life.course.ran(life.now) <= plan.max_runtime + plan.stop_timeout + 1e-6


@settings(max_examples=50, deadline=None)
@given(plans, happenings)
def test_completed_is_only_what_nobody_stopped_and_where_no_host_failed(
    plan: Plan, chosen: list[tuple[float, str, int]]
) -> None:
    course: Course = lived(plan, chosen).course
    if course.status == COMPLETED:
        assert set(course.codes) == set(plan.hosts)
        assert not any(course.codes.values())
        assert STOPPING not in [each.status for each in course.transitions]
    if course.status == FAILED:
        assert course.failed_at is not None
