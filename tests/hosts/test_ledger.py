"""What the ledger concludes, on a clock of its own: random histories against what must hold in each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smentry.hosts.ledger import ENDS, UNWATCHED, Ledger, Statement

BOUND = 30.0
HOSTS = ("algo-1", "algo-2", "algo-3")
HOST = st.sampled_from(HOSTS)
STATEMENT = st.builds(
    Statement,
    st.sampled_from(("algo-0", *HOSTS)),
    st.floats(0, 1000),
    st.just("why"),
    derived=st.booleans(),
    lost=st.booleans(),
)
EVENT = st.one_of(
    st.tuples(st.just("linked"), HOST),
    st.tuples(st.just("heard"), HOST),
    st.tuples(st.just("unlinked"), HOST),
    st.tuples(st.just("leaves"), HOST, st.sampled_from(ENDS)),
    st.tuples(st.just("failed"), STATEMENT),
    st.tuples(st.just("slept"), st.floats(0, 100)),
)


def ledger() -> Ledger:
    return Ledger("algo-0", HOSTS, BOUND)


@given(st.lists(st.tuples(st.floats(0, 20), EVENT), max_size=40), st.floats(0, 100))
def test_who_is_missing_was_there_and_has_been_silent_for_the_bound_without_a_word_about_its_end(
    history: list[tuple[float, tuple[str, object]]], wait: float
) -> None:
    it, now, heard = ledger(), 0.0, dict.fromkeys(HOSTS, -1.0)
    explained: set[str] = set()
    asleep = dict.fromkeys(HOSTS, 0.0)
    for pause, (kind, *words) in history:
        now += pause
        if kind == "unlinked" and not it.peers[words[0]].links:
            continue
        if kind in ("linked", "heard"):
            heard[words[0]], asleep[words[0]] = now, 0.0
        if kind in ("leaves", "failed"):
            explained.add(words[0] if kind == "leaves" else words[0].host)
        if kind == "slept":
            now += words[0]
            asleep = {host: seconds + words[0] for host, seconds in asleep.items()}
        getattr(it, kind)(*words, *([now] if kind in ("linked", "heard") else ()))
    now += wait
    missing = {statement.host for statement in it.missing(now)}
    expected = {
        host
        for host in HOSTS
        if heard[host] >= 0 and host not in explained and now - (heard[host] + asleep[host]) >= BOUND
    }
    # Sums of floating-point numbers in another order: at the very bound either is right.
    unsure = {host for host in HOSTS if abs(now - (heard[host] + asleep[host]) - BOUND) < 1e-6}
    assert missing - unsure == expected - unsure


@given(st.lists(STATEMENT, max_size=10))
def test_the_first_failure_is_the_earliest_that_does_not_follow_from_another(statements: list[Statement]) -> None:
    it = ledger()
    for statement in statements:
        it.failed(statement)
    first = it.first
    assert (first is None) == (not statements)
    if first is not None:
        known = it.statements.values()
        assert not first.derived or all(statement.derived for statement in known)
        assert all(first.at <= statement.at for statement in known if statement.derived == first.derived)


@given(st.lists(STATEMENT, max_size=10))
def test_what_a_host_says_itself_counts_over_what_others_say_of_it(statements: list[Statement]) -> None:
    it = ledger()
    for statement in statements:
        it.failed(statement)
    for host, known in it.statements.items():
        own = [statement for statement in statements if statement.host == host and not statement.lost]
        assert known is own[0] if own else known.lost


@given(st.permutations(range(4)), st.data())
def test_all_hosts_that_know_the_same_name_the_same(order: list[int], data: st.DataObject) -> None:
    said = [
        Statement(f"algo-{number}", data.draw(st.floats(0, 10)), "why", derived=data.draw(st.booleans()))
        for number in range(4)
    ]
    named = set()
    for own in range(4):
        it = Ledger(f"algo-{own}", [f"algo-{number}" for number in range(4) if number != own], BOUND)
        for number in order:
            it.failed(said[number])
        assert it.first is not None
        named.add(it.first.host)
    assert len(named) == 1


def test_who_was_never_there_is_not_missed() -> None:
    assert ledger().missing(1e9) == []


def test_the_first_word_about_an_end_counts_but_any_over_none() -> None:
    it = ledger()
    it.leaves("algo-1", UNWATCHED)
    it.leaves("algo-1", "failed")
    it.leaves("algo-1", "succeeded")
    assert it.peers["algo-1"].end == "failed"


def test_nobody_speaks_of_strangers() -> None:
    it = ledger()
    assert not it.failed(Statement("algo-9", 1.0, "why"))
    assert it.first is None


def test_all_is_known_once_everybody_has_failed_or_taken_leave() -> None:
    it = ledger()
    it.failed(Statement("algo-1", 1.0, "why"))
    it.leaves("algo-2", "succeeded")
    assert not it.is_complete
    it.leaves("algo-3", "stopped")
    assert it.is_complete
