"""What hosts say to each other, and what of it is understood."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smentry.hosts import wire
from smentry.hosts.ledger import ENDS, Statement

HOSTS = ("algo-1", "algo-2")
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.sampled_from(HOSTS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["is", "failure", "host", "ago", "text", "end", "job", "smentry"]), inner)
    ),
    max_leaves=12,
)
KIND = st.sampled_from(["hello", "beat", "heard", "failed", "over"])


def read(line: bytes, now: float = 1000.0) -> wire.Message:
    return wire.read(line, now, job="job", hosts=HOSTS)


def test_a_hello_names_its_host() -> None:
    assert read(wire.hello("job", "algo-2")).host == "algo-2"


@pytest.mark.parametrize(("line", "kind"), [(wire.beat(), "beat"), (wire.heard(), "heard")])
def test_a_sign_of_life_and_a_confirmation_say_nothing_else(line: bytes, kind: str) -> None:
    assert read(line).kind == kind


@given(
    st.sampled_from(HOSTS),
    st.floats(0, 1e6),
    st.text(min_size=1, max_size=1000),
    st.booleans(),
    st.booleans(),
    st.sampled_from(ENDS),
)
def test_a_failure_arrives_with_its_age_on_the_reader_s_clock_and_a_text_of_one_line(
    host: str, ago: float, text: str, derived: bool, lost: bool, end: str
) -> None:
    sent = Statement(host, 5e6 - ago, text, derived=derived, lost=lost)
    for line in (wire.failed(sent, 5e6), wire.over(end, sent, 5e6)):
        assert len(line) <= wire.LONGEST
        got = read(line, 7e6).statement
        assert got is not None
        assert abs(got.at - (7e6 - ago)) < 1e-3
        assert (got.host, got.derived, got.lost) == (host, derived, lost)
        assert len(got.text) == min(len(text), wire.TEXT)
        assert got.text.isprintable()
    assert read(wire.over(end, None, 0.0)).statement is None


@given(st.binary(max_size=200), JSON, KIND)
def test_whatever_comes_is_a_message_or_refused(data: bytes, said: object, kind: str) -> None:
    lines = [data, data + b"\n", json.dumps(said).encode() + b"\n"]
    lines.append(json.dumps({**(said if isinstance(said, dict) else {"failure": said}), "is": kind}).encode() + b"\n")
    for line in lines:
        with contextlib.suppress(ValueError):
            message = read(line)
            assert message.statement is None or (message.statement.host in HOSTS and message.statement.at <= 1000)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (wire.hello("another", "algo-1"), "it belongs to the job 'another'"),
        (wire.hello("job", "algo-9"), "no host of this job: 'algo-9'"),
        (b'{"is": "hello", "smentry": 2, "job": "job", "host": "algo-1"}\n', "a hello of version 1, got '2'"),
        (b'{"is": "beat"}', "a line without an end"),
        (b"[" * 4000 + b"]" * 4000 + b"\n", "too many brackets|expected an object"),
        (b'{"is": "failed", "failure": {"host": "algo-1", "ago": NaN, "text": "x"}}\n', "how long ago"),
        (b'{"is": "failed", "failure": {"host": "algo-1", "ago": 1e300, "text": "x"}}\n', "how long ago"),
        (b'{"is": "failed", "failure": {"host": "algo-1", "ago": true, "text": "x"}}\n', "how long ago"),
        (b'{"is": "failed", "failure": {"host": "algo-1", "ago": 1, "text": ""}}\n', "a text"),
        (b'{"is": "over", "end": "never", "failure": null}\n', "how it ended"),
    ],
)
def test_what_is_refused_is_named(line: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(line)
