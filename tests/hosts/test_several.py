"""Real hosts on the loopback interface: a failure of one of them stops the others, and each says which was first."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from running import wait_until

from smentry.hosts.roster import PORT

from .cluster import Cluster, addresses

if TYPE_CHECKING:
    from running import Starter

pytestmark = pytest.mark.together


def test_a_failure_stops_the_others_and_every_file_names_it_first(start: Starter) -> None:
    cluster = Cluster(start, "fail", "hang", "save")
    cluster.meet()
    cluster.go(0)
    assert [cluster.end(number) for number in range(3)] == [1, 128 + signal.SIGTERM, 1]
    own, hung, saved = (cluster.first_line(number) for number in range(3))
    assert own.startswith(f"{cluster.names[0]}: ")
    assert "exited with code 1 after" in own
    assert own.endswith(": ValueError: bad batch")
    cause = own.partition(": ")[2]
    assert hung == f"{cluster.names[1]}: stopped because {cluster.names[0]} failed first: {cause}"
    assert saved == f"{cluster.names[2]}: stopped because {cluster.names[0]} failed first: {cause}"
    assert cluster.runs[2].has("saved")
    assert "died of SIGTERM" in cluster.failure(1)
    assert "exited with code 0" in cluster.failure(2)


def test_who_was_cut_off_names_the_failure_that_comes_to_light_later(start: Starter) -> None:
    cluster = Cluster(start, "fail", "derived", "hang")
    cluster.meet()
    cluster.go(1)
    wait_until(lambda: "ended with exit code 1" in cluster.runs[1].stderr, "the end of the one that was cut off")
    cluster.go(0)
    codes = [cluster.end(number) for number in range(3)]
    assert codes == [1, 1, 128 + signal.SIGTERM]
    first = f"{cluster.names[0]} failed first: "
    assert cluster.first_line(0).endswith("ValueError: bad batch")
    assert cluster.first_line(1).startswith(f"{cluster.names[1]}: {first}")
    assert cluster.first_line(1).endswith("ValueError: bad batch")
    assert "Connection closed by peer" in cluster.failure(1)
    assert cluster.first_line(2).startswith(f"{cluster.names[2]}: stopped because {first}")


@pytest.mark.parametrize("does", ["derived", "hung-up"])
def test_who_was_cut_off_by_a_host_that_is_gone_says_that(start: Starter, does: str) -> None:
    cluster = Cluster(start, "hang", does, mode="init")
    cluster.meet()
    cluster.kill(0)
    wait_until(lambda: f"{cluster.names[0]}: " in cluster.runs[1].stderr, "the connection to break")
    cluster.go(1)
    assert cluster.end(1) != 0
    assert cluster.first_line(1).startswith(f"{cluster.names[1]}: {cluster.names[0]} was lost: its connection broke, ")


def test_only_a_failure_that_follows_from_another_is_still_a_reason_to_stop(start: Starter) -> None:
    cluster = Cluster(start, "derived", "hang", options=("--linger", "2s"))
    cluster.meet()
    cluster.go(0)
    assert cluster.end(0) == 1
    assert cluster.end(1) == 128 + signal.SIGTERM
    assert cluster.names[0] in cluster.first_line(1)
    assert "Connection closed by peer" in cluster.first_line(1)


def test_a_host_that_is_killed_is_missed_after_the_bound(start: Starter) -> None:
    cluster = Cluster(start, "hang", "hang", "save", bound="6s", mode="init")
    cluster.meet()
    killed = time.monotonic()
    cluster.kill(0)
    codes = [cluster.end(number) for number in (1, 2)]
    # Not at once; but it was last heard of up to a beat, a sixth of the bound, before that.
    assert time.monotonic() - killed >= 1
    assert codes[1] == 1
    assert cluster.runs[2].has("saved")
    for number in (1, 2):
        lost = f"{cluster.names[number]}: stopped because {cluster.names[0]} was lost: its connection broke, "
        assert cluster.first_line(number).startswith(lost)


def test_a_host_that_does_not_answer_is_missed_though_its_connection_stands(start: Starter) -> None:
    cluster = Cluster(start, "hang", "hang", bound="6s")
    cluster.meet()
    for pid in cluster.watches(0):
        os.kill(pid, signal.SIGSTOP)
    assert cluster.end(1) == 128 + signal.SIGTERM
    assert cluster.first_line(1).startswith(
        f"{cluster.names[1]}: stopped because {cluster.names[0]} was lost: nothing has been heard of it for "
    )


def test_hosts_that_end_well_at_different_times_disturb_nobody(start: Starter) -> None:
    cluster = Cluster(start, "end", "end", "end", bound="3s")
    cluster.meet()
    for number in range(3):
        began = time.monotonic()
        cluster.go(number)
        assert cluster.end(number) == 0
        wait_until(lambda began=began: time.monotonic() - began > 4, "more than the bound")
    assert [cluster.failure(number) for number in range(3)] == ["", "", ""]


def test_a_stop_of_one_host_or_of_all_is_nobody_s_failure(start: Starter) -> None:
    cluster = Cluster(start, "save", "save", "save", bound="3s")
    cluster.meet()
    assert cluster.runs[0].stop() == 0
    stopped = time.monotonic()
    wait_until(lambda: time.monotonic() - stopped > 4, "more than the bound")
    assert not cluster.runs[1].has("saved")
    for number in (1, 2):
        cluster.runs[number].send(signal.SIGTERM)
    assert [cluster.end(number) for number in (1, 2)] == [0, 0]
    assert [cluster.failure(number) for number in range(3)] == ["", "", ""]
    assert "another host failed" not in cluster.runs[1].stderr + cluster.runs[2].stderr


def test_who_was_told_nothing_of_a_stop_says_that_the_other_had_been_stopped(start: Starter) -> None:
    cluster = Cluster(start, "save", "derived")
    cluster.meet()
    assert cluster.runs[0].stop() == 0
    cluster.go(1)
    assert cluster.end(1) == 1
    assert cluster.first_line(1).endswith("10.0.0.1]:43211")
    assert f"Before that {cluster.names[0]} had been stopped" in cluster.failure(1)


def test_a_watch_that_dies_is_started_again_and_harms_nobody(start: Starter) -> None:
    cluster = Cluster(start, "end", "end", bound="5s")
    cluster.meet()
    first = cluster.watches(0)
    assert len(first) == 1
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: cluster.runs[0].stderr.count(f"{cluster.names[1]} is there") == 2, "the next watch to be met")
    cluster.go(0)
    cluster.go(1)
    assert [cluster.end(0), cluster.end(1)] == [0, 0]
    assert "another host failed" not in cluster.runs[0].stderr + cluster.runs[1].stderr


def test_a_pause_of_all_hosts_is_no_silence(start: Starter) -> None:
    cluster = Cluster(start, "end", "end", bound="3s")
    cluster.meet()
    watches = cluster.watches(0) + cluster.watches(1)
    assert len(watches) == 2
    for pid in watches:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 4, "more than the bound")
    for pid in watches:
        os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1, "some beats")
    cluster.go(0)
    cluster.go(1)
    assert [cluster.end(0), cluster.end(1)] == [0, 0]


def test_a_program_that_was_never_started_is_a_failure_too(start: Starter) -> None:
    cluster = Cluster(start, "hang", "end", together=False)
    cluster.add(0).wait_for("ready")
    config = "hooks: [{on: start, name: pip, run: [sh, -c, 'exit 3']}]\n"
    cluster.add(1, config=config)
    assert cluster.end(1) == 3
    assert cluster.end(0) == 128 + signal.SIGTERM
    assert f"stopped because {cluster.names[1]} failed first: smentry: start hook pip " in cluster.first_line(0)


def test_what_runs_beside_a_program_that_cannot_be_started_is_not_waited_for(start: Starter) -> None:
    cluster = Cluster(start, "hang", "end", together=False)
    cluster.add(0).wait_for("ready")
    run = cluster.add(1, config="processes: [{name: side, run: [/no/such/side]}]\n")
    assert [cluster.end(1), cluster.end(0)] == [127, 128 + signal.SIGTERM]
    assert "killed watch" not in run.stderr
    assert f"{cluster.names[1]} failed first: smentry: companion side cannot be started" in cluster.first_line(0)


def test_a_stop_ends_the_wait_of_who_was_never_started(start: Starter) -> None:
    config = "hooks: [{on: start, name: pip, run: [sh, -c, 'exit 3']}]\n"
    cluster = Cluster(start, "end", others=tuple(addresses(1)), together=False)
    run = cluster.add(0, "--wait-hosts", "0", "--linger", "60s", config=config)
    wait_until(lambda: f"watch: {cluster.others[0]}: " in run.stderr, "the attempt to tell the other host")
    assert run.stop() == 3
    assert run.seconds < 6  # of the 8 that it would wait for the other host


def test_with_no_time_for_what_is_left_a_host_takes_leave_all_the_same(start: Starter) -> None:
    cluster = Cluster(start, "end", "end", options=("--linger", "0"))
    cluster.meet()
    for number in range(2):
        cluster.go(number)
        assert cluster.end(number) == 0
    assert f"{cluster.names[0]} has taken its leave: succeeded" in cluster.runs[1].stderr
    assert "SIGKILL" not in cluster.runs[0].stderr + cluster.runs[1].stderr


def test_a_host_whose_watch_was_just_killed_takes_leave_all_the_same(start: Starter) -> None:
    cluster = Cluster(start, "fail", "hang")
    cluster.meet()
    for pid in cluster.watches(0):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "started again in 1 s" in cluster.runs[0].stderr, "the end of the watch")
    cluster.go(0)
    assert [cluster.end(0), cluster.end(1)] == [1, 128 + signal.SIGTERM]
    assert cluster.first_line(1).endswith("ValueError: bad batch")


def test_hosts_that_never_come_up_are_not_missed(start: Starter) -> None:
    cluster = Cluster(
        start, "end", bound="1s", options=("--wait-hosts", "0"), others=("no-such-host.invalid", *addresses(1))
    )
    cluster.runs[0].wait_for("ready")
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2.5, "more than the bound")
    cluster.go(0)
    assert cluster.end(0) == 0


def test_a_port_in_use_is_said_and_the_others_are_heard_all_the_same(start: Starter) -> None:
    cluster = Cluster(start, "fail", "hang", together=False)
    with socket.create_server((cluster.names[1], PORT)):
        cluster.add(0)
        cluster.add(1)
        cluster.meet()
        assert f"port {PORT} is in use" in cluster.runs[1].stderr
        cluster.go(0)
        assert [cluster.end(0), cluster.end(1)] == [1, 128 + signal.SIGTERM]
    assert cluster.first_line(1).endswith("ValueError: bad batch")


def test_strangers_and_nonsense_harm_nobody(start: Starter) -> None:
    cluster = Cluster(start, "end", "end")
    cluster.meet()
    other = cluster.names[1].encode()
    hello = b'{"smentry": 1, "is": "hello", "job": "several", "host": "%s"}\n' % other
    for said in (
        b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000, b"[" * 8000 + b"\n", b"null\n", b"\xff\xfe\n", b"",
        hello.replace(b"several", b"another"), hello.replace(other, b"algo-9"), hello + b'{"is": "failed"}\n',
        hello + b'{"is": "failed", "failure": {"host": "algo-9", "ago": NaN, "text": ""}}\n',
        hello + b'{"is": "over", "end": "failed", "failure": {"host": "%s", "ago": 1, "text": 5}}\n' % other,
    ):  # fmt: skip
        with socket.create_connection((cluster.names[0], PORT), 5) as connection:
            connection.settimeout(5)
            try:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except OSError:
                pass  # it has hung up
    cluster.go(0)
    cluster.go(1)
    assert [cluster.end(0), cluster.end(1)] == [0, 0]
    assert "is not understood" in cluster.runs[0].stderr
    assert "defect" not in cluster.runs[0].stderr


def test_secrets_do_not_leave_the_host(start: Starter) -> None:
    cluster = Cluster(start, "fail", "hang", together=False)
    cluster.add(0, DB_PASSWORD="bad batch")
    cluster.add(1)
    cluster.meet()
    cluster.go(0)
    assert [cluster.end(0), cluster.end(1)] == [1, 128 + signal.SIGTERM]
    assert cluster.first_line(1).endswith("ValueError: ***")
    assert "bad batch" not in cluster.failure(1)


@pytest.mark.parametrize(
    ("options", "variables"),
    [((), {"SM_STUDIO_LOCAL_MODE": "true"}), (("--watch-hosts", "0"), {})],
    ids=["local mode", "not asked for"],
)
def test_nothing_is_started_where_there_is_nobody_to_watch(
    start: Starter, options: tuple[str, ...], variables: dict[str, str]
) -> None:
    cluster = Cluster(start, "end", "end", together=False)
    run = cluster.add(0, *options, **variables)
    run.wait_for("ready")
    cluster.go(0)
    assert cluster.end(0) == 0
    assert "companion" not in run.stderr
