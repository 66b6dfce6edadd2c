"""What was seen of an endpoint, judged by the platform's limits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from smentry.ctl.serve.asking import Answer
from smentry.ctl.serve.limits import BODY_BYTES
from smentry.ctl.serve.report import Report, as_json, findings, text

OK = Answer(1.0, 0.004, 200)
PREDICTED = Answer(2.0, 0.25, 200, body=b"0.50\n2.00\n", content_type="text/csv")
LATE = Answer(2.0, 60.0, error="no answer within 60 s", late=True)
CLOSED = Answer(9.0, 0.5, error="the connection was closed without an answer")
GOOD = Report(
    ready=1.25,
    pings=[Answer(0.5, 0.001, error="nobody listens"), Answer(0.8, 0.002, 503), OK, OK],
    asked=[PREDICTED],
    in_flight=[replace(PREDICTED, at=9.0)],
    body_size=7,
    told=9.5,
    ended=11.0,
    stopped=1.5,
    code=0,
)


def test_an_endpoint_as_the_platform_wants_it() -> None:
    assert findings(GOOD) == []
    assert text(GOOD, []).splitlines() == [
        "/ping         200 after 1.2 s; 2 of 2 pings 200 within 2 s, slowest 0.004 s",
        "/invocations  200 in 0.250 s, 10 bytes of text/csv: 0.50 2.00",
        "SIGTERM       exit code 0 after 1.5 s of 30 s; 1 in flight, answered",
        "as the platform wants it",
    ]


@pytest.mark.parametrize(
    ("report", "finding"),
    [
        (
            replace(GOOD, asked=[replace(PREDICTED, status=500, body=b"no\n model")]),
            "answered 500: no model: the caller gets a Mo",
        ),
        (
            replace(GOOD, asked=[replace(PREDICTED, status=404, body=b"\x00\xff")]),
            "answered 404: the caller gets a ModelError",
        ),
        (
            replace(GOOD, asked=[LATE, LATE]),
            "/invocations was not answered within 60 s: the caller gets a ModelError (2 times)",
        ),
        (replace(GOOD, asked=[CLOSED]), "/invocations: the connection was closed without an answer"),
        (replace(GOOD, asked=[replace(PREDICTED, body=b"x" * (BODY_BYTES + 1))]), "answered with 25.0 MiB"),
        (
            replace(GOOD, body_size=BODY_BYTES + (1 << 20)),
            "the request has 26.0 MiB: the platform takes 25.0 MiB at most",
        ),
        (replace(GOOD, killed=True), "did not end within 30 s of SIGTERM and was killed"),
        (
            replace(GOOD, in_flight=[CLOSED, replace(PREDICTED, at=9.0)]),
            "1 of 2 requests in flight at SIGTERM got no answer",
        ),
        (replace(GOOD, in_flight=[replace(PREDICTED, status=503)]), "in flight at SIGTERM was answered 503"),
        (replace(GOOD, pings=[OK, replace(LATE, seconds=2.0), OK]), "/ping was not answered within 2 s (1 of 3 times)"),
        (replace(GOOD, pings=[OK, replace(OK, status=503)]), "/ping answered 200, and then 503"),
        (replace(GOOD, out_of_memory=True), "ran out of memory"),
        (
            replace(GOOD, told=None, stopped=None, code=139),
            "ended by itself with exit code 139, 11.0 s after its start",
        ),
        (Report(ended=0.5, code=1), "ended with exit code 1, 0.5 s after its start, before /ping answered 200"),
        (Report(60.0, pings=[replace(LATE, error="no answer within 2 s")]), "each ping must be answered within 2 s"),
        (
            Report(60.0, pings=[Answer(0, 0, error="nobody listens")]),
            "(last: nobody listens), and the platform gives up",
        ),
        (Report(60.0, pings=[Answer(0, 0, 503)]), "200 within 60 s of the start (last: 503)"),
    ],
)
def test_each_thing_that_is_not_as_it_should_be_is_a_line(report: Report, finding: str) -> None:
    (found,) = findings(report)
    assert finding in found
    assert "\n" not in found
    assert text(report, [found]).splitlines()[-2:] == [f"finding: {found}", "1 finding"]


def test_a_request_that_came_at_the_moment_of_the_stop_may_be_refused() -> None:
    assert GOOD.told is not None
    assert findings(replace(GOOD, in_flight=[replace(CLOSED, at=GOOD.told - 0.01)])) == []


def test_several_answers_are_one_line_for_each_status() -> None:
    answers = [replace(PREDICTED, seconds=seconds) for seconds in (0.5, 0.25, 1.0)]
    report = replace(GOOD, asked=[*answers, CLOSED])
    assert text(report, []).splitlines()[1:3] == [
        "/invocations  3 × 200 in 0.250 s to 1.000 s, 10 bytes of text/csv: 0.50 2.00",
        "/invocations  the connection was closed without an answer (0.500 s)",
    ]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (replace(GOOD, asked=[], in_flight=[]), "nothing was in flight (--request FILE sends requests)"),
        (replace(GOOD, in_flight=[]), "nothing was in flight: the answers are too fast for that"),
        (replace(GOOD, in_flight=[CLOSED]), "1 in flight, not answered"),
        (replace(GOOD, in_flight=[CLOSED, CLOSED]), "2 in flight, none answered"),
        (replace(GOOD, in_flight=[PREDICTED, PREDICTED]), "2 in flight, all answered"),
        (replace(GOOD, in_flight=[PREDICTED, CLOSED]), "2 in flight, 1 answered"),
        (
            replace(GOOD, in_flight=[PREDICTED, replace(CLOSED, at=GOOD.told or 0.0)]),
            "2 in flight, 1 answered; 1 came too late to be counted",
        ),
    ],
)
def test_what_was_in_flight_is_said(report: Report, words: str) -> None:
    assert f"exit code 0 after 1.5 s of 30 s; {words}\n" in text(report, [])


def test_a_body_cannot_do_anything_to_the_terminal() -> None:
    report = replace(GOOD, asked=[replace(PREDICTED, body=b"\x1b[2J" + b"long " * 100)])
    line = text(report, []).splitlines()[1]
    assert "\x1b" not in line
    assert line.endswith("…")
    assert len(line) < 180


def test_json_has_everything() -> None:
    read = json.loads(json.dumps(as_json(GOOD, ["a finding"])))
    assert read["ping"]["ready_seconds"] == 1.25
    assert [answer["status"] for answer in read["ping"]["answers"]] == [200, 200]
    assert read["invocations"] == [
        {"status": 200, "seconds": 0.25, "bytes": 10, "content_type": "text/csv", "error": ""}
    ]
    assert read["stop"]["seconds"] == 1.5
    assert read["stop"]["killed"] is False
    assert read["findings"] == ["a finding"]
    assert json.loads(json.dumps(as_json(Report(), [])))["stop"] is None
