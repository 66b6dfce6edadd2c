"""Which host gets what of a channel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smentry.ctl.data import sharing
from smentry.ctl.request.job import SHARDED, Channel, Host

ENTRIES = st.lists(st.integers(), unique=True, max_size=30)
HOSTS = st.integers(1, 7)


def shares(channel: Channel, entries: list[int], hosts: int, epoch: int = 0) -> list[list[int]]:
    return [sharing.portion(channel, entries, place, hosts, epoch) for place in range(hosts)]


@given(ENTRIES, HOSTS, st.none() | st.integers(0, 2**32), st.integers(0, 5))
def test_shards_are_disjoint_complete_and_even(entries: list[int], hosts: int, seed: int | None, epoch: int) -> None:
    parts = shares(Channel("c", "", distribution=SHARDED, shuffle_seed=seed), entries, hosts, epoch)
    assert sorted(each for part in parts for each in part) == sorted(entries)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(ENTRIES, HOSTS)
def test_every_host_gets_all_of_a_replicated_channel_in_order(entries: list[int], hosts: int) -> None:
    assert shares(Channel("c", ""), entries, hosts) == [entries] * hosts


def test_entries_are_dealt_out_in_turn() -> None:
    assert shares(Channel("c", "", distribution=SHARDED), [1, 2, 3, 4, 5], 2) == [[1, 3, 5], [2, 4]]


@given(ENTRIES, st.integers(0, 2**32), st.integers(0, 5))
def test_a_seed_gives_the_same_order_each_time(entries: list[int], seed: int, epoch: int) -> None:
    first, second = (shares(Channel("c", "", shuffle_seed=seed), entries, 2, epoch) for _ in range(2))
    assert first == second
    assert sorted(first[0]) == sorted(entries)
    assert first[0] == first[1]


def test_each_epoch_has_an_order_of_its_own_and_the_shards_move() -> None:
    channel = Channel("c", "", distribution=SHARDED, shuffle_seed=7)
    epochs = [shares(channel, list(range(50)), 2, epoch) for epoch in range(3)]
    assert len({tuple(map(tuple, each)) for each in epochs}) == 3
    assert set(epochs[0][0]) != set(epochs[1][0])


def test_a_channel_goes_to_its_groups_only() -> None:
    hosts = [Host("algo-1", group="cpu"), Host("algo-2", group="gpu"), Host("algo-3", group="gpu")]
    assert sharing.receivers(Channel("c", "", groups=("gpu",)), hosts) == ["algo-2", "algo-3"]
    assert sharing.receivers(Channel("c", ""), hosts) == ["algo-1", "algo-2", "algo-3"]
