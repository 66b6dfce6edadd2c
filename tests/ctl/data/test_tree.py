"""The tree of each host, read back by what reads it in the container."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smentry.ctl.data import tree as trees
from smentry.ctl.data.storage import Storage
from smentry.ctl.engine.base import Mount
from smentry.ctl.request.job import FASTFILE, PIPE, REPLICATED, SHARDED, Channel, Host, Job
from smentry.errors import RefusedError
from smentry.sagemaker import inputs
from smentry.sagemaker.layout import Layout
from tests.ctl.data.test_storage import tree

TWO = (Host("algo-1"), Host("algo-2"))


def lay_out(tmp_path: Path, *given: Channel, **more: Any) -> list[trees.HostTree]:
    options = {key: more.pop(key) for key in ("checkpoints", "views") if key in more}
    return trees.lay_out(Job("job", "image", channels=given, **more), Storage(), tmp_path / "out", **options)


def files(directory: Path) -> list[str]:
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*") if each.is_file())


def test_a_job_without_channels_has_the_platforms_directories(tmp_path: Path) -> None:
    (host,) = lay_out(tmp_path)
    found = {str(each.relative_to(host.base)): oct(each.stat().st_mode) for each in host.base.rglob("*")}
    directories = ["checkpoints", "input", "input/config", "input/data", "model", "output", "output/data"]
    configs = [f"input/config/{name}.json" for name in ("hyperparameters", "inputdataconfig", "resourceconfig")]
    assert found == {**dict.fromkeys(directories, "0o40755"), **dict.fromkeys(configs, "0o100644")}
    assert host.mounts == (Mount(host.base, "/opt/ml"),)
    assert oct(host.base.stat().st_mode) == "0o40755"


def test_the_umask_changes_nothing(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        (host,) = lay_out(
            tmp_path, Channel("c", str(tree(tmp_path / "d", "a"))), Channel("p", str(tmp_path / "d"), PIPE)
        )
    finally:
        os.umask(before)
    for each in host.base.rglob("*"):
        assert stat.S_IMODE(each.stat().st_mode) == (0o755 if each.is_dir() else 0o644), each


def test_two_hosts_get_the_replicated_channel_whole_and_the_sharded_one_in_parts(tmp_path: Path) -> None:
    source = str(tree(tmp_path / "d", *(f"{number}.csv" for number in range(5))))
    given = (Channel("all", source), Channel("part", source, distribution=SHARDED))
    first, second = lay_out(tmp_path, *given, hosts=TWO)
    whole = [f"{number}.csv" for number in range(5)]
    for host in (first, second):
        assert files(host.base / "input/data/all") == whole
    assert files(first.base / "input/data/part") == ["0.csv", "2.csv", "4.csv"]
    assert files(second.base / "input/data/part") == ["1.csv", "3.csv"]
    (first.base / "input/data/all/0.csv").write_text("mine")
    assert (second.base / "input/data/all/0.csv").read_text() == "0.csv"


def test_a_host_without_a_shard_has_an_empty_directory(tmp_path: Path) -> None:
    given = Channel("c", str(tree(tmp_path / "d", "a")), distribution=SHARDED)
    assert (lay_out(tmp_path, given, hosts=TWO)[1].base / "input/data/c").is_dir()


def test_a_channel_of_a_group_is_nowhere_else(tmp_path: Path) -> None:
    hosts = (Host("algo-1", "ml.c5.xlarge", "cpu"), Host("algo-2", "ml.p3.2xlarge", "gpu"))
    source = str(tree(tmp_path / "d", "a"))
    first, second = lay_out(tmp_path, Channel("c", source, groups=("gpu",)), Channel("d", source), hosts=hosts)
    assert not (first.base / "input/data/c").exists()
    assert files(second.base / "input/data/c") == ["a"]
    assert list(inputs.channels(Layout(str(first.base)))) == ["d"]
    assert list(inputs.channels(Layout(str(second.base)))) == ["c", "d"]


def test_a_bare_directory_is_a_fastfile_channel_as_it_is(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "a")
    source.chmod(0o755)
    (source / "a").chmod(0o644)
    first, second = lay_out(tmp_path, Channel("c", str(source), FASTFILE), hosts=TWO)
    for host in (first, second):
        assert host.mounts[1] == Mount(source, "/opt/ml/input/data/c", read_only=True)
        assert (host.base / "input/data/c").is_dir()


@pytest.mark.parametrize("why", ["a mode", "no views"])
def test_a_fastfile_channel_is_else_one_copy_for_all_hosts(why: str, tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "a")
    source.chmod(0o755)
    (source / "a").chmod(0o755 if why == "a mode" else 0o644)
    hosts = lay_out(tmp_path, Channel("c", str(source), FASTFILE), hosts=TWO, views=why == "a mode")
    (copy,) = {host.mounts[1].source for host in hosts}
    assert copy != source
    assert oct((copy / "a").stat().st_mode) == "0o100644"


def test_a_part_of_s3_may_be_a_view_too_where_a_whole_directory_stands_for_it(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "part/a", "part/b/c", "other")
    for each in (source, *source.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    job = Job("j", "i", channels=(Channel("whole", "s3://k/part", FASTFILE), Channel("part", "s3://k/par", FASTFILE)))
    (host,) = trees.lay_out(job, Storage([("s3://k", source)]), tmp_path / "out")
    assert host.mounts[1].source == source / "part"
    assert files(host.mounts[2].source) == ["part/a", "part/b/c"]
    assert host.mounts[2].source != source


def test_a_sharded_fastfile_channel_is_a_directory_for_each_host(tmp_path: Path) -> None:
    source = str(tree(tmp_path / "d", "a", "b"))
    first, second = lay_out(tmp_path, Channel("c", source, FASTFILE, distribution=SHARDED), hosts=TWO)
    assert [files(host.mounts[1].source) for host in (first, second)] == [["a"], ["b"]]
    assert first.mounts[1].read_only


def test_a_pipe_channel_is_a_fifo_and_no_directory(tmp_path: Path) -> None:
    (host,) = lay_out(tmp_path, Channel("c", str(tree(tmp_path / "d", "a")), PIPE))
    assert os.listdir(host.base / "input/data") == ["c_0"]
    assert stat.S_ISFIFO((host.base / "input/data/c_0").stat().st_mode)
    assert [feed.path(0) for feed in host.feeds] == [host.base / "input/data/c_0"]


@pytest.mark.parametrize("path", [None, "/opt/ml/checkpoints", "/opt/ml/checkpoints/", "/opt/ml/input/kept/here"])
def test_checkpoints_are_restored_to_every_host_without_their_modes(path: str | None, tmp_path: Path) -> None:
    kept = tree(tmp_path / "kept", "1/weights", "2/weights")
    (kept / "1/weights").chmod(0o600)
    (kept / "2").chmod(0o700)
    for host in lay_out(tmp_path, hosts=TWO, checkpoints=kept, checkpoint_path=path):
        assert files(host.checkpoints) == ["1/weights", "2/weights"]
        inside = "checkpoints" if path is None else path.rstrip("/")[len("/opt/ml/") :]
        assert host.checkpoints == host.base / inside
        modes = {oct(each.stat().st_mode) for each in host.checkpoints.rglob("*")}
        assert modes == {"0o40755", "0o100644"}
        assert len(host.mounts) == 1


def test_checkpoints_elsewhere_are_a_mount_of_their_own(tmp_path: Path) -> None:
    (host,) = lay_out(tmp_path, checkpoint_path="/mnt/checkpoints", checkpoints=tree(tmp_path / "kept", "a"))
    assert host.mounts == (Mount(host.base, "/opt/ml"), Mount(host.checkpoints, "/mnt/checkpoints"))
    assert files(host.checkpoints) == ["a"]
    assert not (host.base / "checkpoints").exists()


@pytest.mark.parametrize("path", ["/", "/opt/ml", "checkpoints", "/opt/ml/x/.."])
def test_a_checkpoint_path_that_cannot_be_one_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"CheckpointConfig\.LocalPath: expected a directory such as"):
        lay_out(tmp_path, checkpoint_path=path)


def test_checkpoints_come_back_without_what_no_upload_takes(tmp_path: Path) -> None:
    kept = tree(tmp_path / "kept", "1/weights")
    (kept / "newest").symlink_to("1")
    (kept / "gone").symlink_to("nowhere")
    (kept / "empty").mkdir()
    os.mkfifo(kept / "fifo")
    (host,) = lay_out(tmp_path, checkpoints=kept)
    assert files(host.checkpoints) == ["1/weights", "newest/weights"]


def test_nothing_kept_is_nothing_restored(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (host,) = lay_out(tmp_path, checkpoints=tmp_path / "kept")
    assert os.listdir(host.checkpoints) == []


def test_the_environment_names_the_job_and_has_the_requests_own(tmp_path: Path) -> None:
    (host,) = lay_out(tmp_path, environment={"EPOCHS": "3"}, region="eu-west-1", account="123456789012")
    assert host.environment == {
        "TRAINING_JOB_NAME": "job",
        "TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/job",
        "AWS_REGION": "eu-west-1",
        "EPOCHS": "3",
    }


def test_missing_data_is_refused_by_its_channel(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=f"^channel c: {tmp_path}/nowhere: expected a directory or a file"):
        lay_out(tmp_path, Channel("c", f"{tmp_path}/nowhere"))


def test_a_channel_cannot_have_the_name_of_a_fifo(tmp_path: Path) -> None:
    source = str(tree(tmp_path / "d", "a"))
    with pytest.raises(RefusedError, match="channel p_12: a FIFO of the channel p has this name too; rename one"):
        lay_out(tmp_path, Channel("p", source, PIPE), Channel("p_12", source))


@pytest.mark.parametrize("name", [".", ".."])
def test_a_channel_cannot_have_the_name_of_a_directory_that_is_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no directory can have this name; rename the channel"):
        lay_out(tmp_path, Channel(name, str(tree(tmp_path / "d", "a"))))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAME = st.from_regex(r"[A-Za-z0-9\.\-_]{1,12}", fullmatch=True).filter(lambda name: name.strip("."))
CHANNELS = st.lists(
    st.builds(
        Channel,
        NAME,
        st.none(),
        st.sampled_from(["File", "FastFile", "Pipe"]),
        distribution=st.sampled_from([REPLICATED, SHARDED]),
        content_type=st.sampled_from(["", "text/csv"]),
        groups=st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
    ),
    max_size=3,
    unique_by=lambda channel: channel.name,
)


@settings(max_examples=20, deadline=None)
@given(
    CHANNELS,
    st.dictionaries(TEXT, TEXT, max_size=4),
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["ml.m5.large", "local"])), min_size=1, max_size=12
    ),
)
def test_what_is_written_is_what_the_container_reads(
    given_channels: list[Channel], parameters: dict[str, str], kinds: list[tuple[str, str]]
) -> None:
    hosts = tuple(Host(f"algo-{number}", kind, group) for number, (group, kind) in enumerate(kinds, 1))
    assume(not any(re.fullmatch(rf"{re.escape(a.name)}_\d+", b.name) for a in given_channels for b in given_channels))
    with tempfile.TemporaryDirectory() as scratch:
        source = str(tree(Path(scratch, "data"), "1", "2", "3"))
        given_channels = [Channel(**{**vars(each), "uri": source}) for each in given_channels]
        job = Job("j", "i", hosts, hyperparameters=parameters, channels=tuple(given_channels))
        laid = trees.lay_out(job, Storage(), Path(scratch, "out"))
        assert [each.host for each in laid] == [each.name for each in hosts]
        for host, made in zip(hosts, laid):
            layout = Layout(str(made.base))
            read = inputs.read(layout)
            assert json.loads(Path(layout.hyperparameters).read_text()) == parameters
            assert list(read.hyperparameters) == list(parameters)
            assert read.resources.current_host == host.name
            assert read.resources.hosts == sorted(each.name for each in hosts)
            assert (read.resources.group, read.resources.instance_type) == (host.group, host.instance_type)
            assert read.resources.network_interface == "eth0"
            assert sorted(name for group in read.resources.groups for name in group["hosts"]) == read.resources.hosts
            for group in read.resources.groups:
                assert group["hosts"] == sorted(
                    each.name for each in hosts if each.group == group["instance_group_name"]
                )
            mine = [each for each in given_channels if not each.groups or host.group in each.groups]
            assert {
                name: (each.mode, each.sharded, each.raw.get("ContentType")) for name, each in read.channels.items()
            } == {each.name: (each.mode, each.distribution == SHARDED, each.content_type or None) for each in mine}
