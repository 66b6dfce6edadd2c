"""`ProcessEngine` with real processes, with namespaces of their own and without."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, marked, wait_until

from smentry.ctl.engine.base import Ended, Mount, Start
from smentry.ctl.engine.process import ProcessContainer, ProcessEngine
from smentry.errors import NOT_EXECUTABLE, NOT_FOUND, USAGE, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[3]


class Output:
    """What hosts write, as text."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def __call__(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def __str__(self) -> str:
        return b"".join(self.pieces).decode()

    def lines(self) -> list[str]:
        return str(self).splitlines()


class Hosts:
    """An engine, the tree of its hosts, and a mark by which all of their processes are found."""

    def __init__(self, directory: Path, namespaces: bool) -> None:
        self.engine = ProcessEngine("a job", namespaces=namespaces)
        self.namespaces = namespaces
        self.directory = directory
        self.base = directory / "ml"
        (self.base / "input/data/training").mkdir(parents=True)
        (self.base / "model").mkdir()
        self.output = Output()

    def run(
        self,
        *words: str,
        name: str = "algo-1",
        entrypoint: Sequence[str] | None = ("/bin/sh", "-c"),
        mounts: Sequence[Mount] = (),
        **environment: str,
    ) -> ProcessContainer:
        """Start a host; without an entrypoint of its own, a shell with these words."""
        variables = {"STATE": str(self.directory), **environment}
        given = [Mount(self.base, "/opt/ml"), *mounts]
        return self.engine.start(Start(name, "", entrypoint, words, variables, given), self.output)

    def alive(self) -> dict[int, str]:
        """The processes of all hosts."""
        return marked(self.directory)

    def wait_for(self, text: str) -> None:
        """Wait until a host has written this."""
        wait_until(lambda: text in str(self.output), f"{text!r} in {self.output}")


def give(directory: Path, namespaces: bool) -> Iterator[Hosts]:
    hosts = Hosts(directory, namespaces)
    try:
        if namespaces and hosts.engine.without:
            pytest.skip(f"no namespaces here: {hosts.engine.without}")
        yield hosts
    finally:
        hosts.engine.close()
        for pid in hosts.alive():  # a test that fails leaves nobody behind
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["namespaces", pytest.param("plain", marks=pytest.mark.slow)])
def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hosts]:
    """Both kinds of hosts, one after the other."""
    yield from give(tmp_path, request.param == "namespaces")


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Hosts]:
    """Hosts with namespaces."""
    yield from give(tmp_path, True)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Hosts]:
    """Hosts without."""
    yield from give(tmp_path, False)


# -- what a host sees ------------------------------------------------------------------------------


def test_a_host_has_the_environment_of_a_container_and_not_the_developers(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVELOPERS_OWN", "1")
    hosts.run("exec env; pwd", entrypoint=("/bin/sh", "-c"), GIVEN="a\nb").wait()
    names = {line.partition("=")[0] for line in hosts.output.lines() if "=" in line}
    own = set() if hosts.namespaces else {"SAGEMAKER_BASE_DIR", "SMENTRY_WAIT_HOSTS", "SMENTRY_WATCH_HOSTS"}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "HOME", "HOSTNAME", "STATE", "GIVEN"} | own
    assert "HOSTNAME=algo-1" in hosts.output.lines()


def test_it_starts_in_the_root_directory_without_input_and_with_no_signal_blocked_or_ignored(hosts: Hosts) -> None:
    hosts.run("pwd; readlink /proc/self/fd/0; grep -E 'Sig(Blk|Ign)' /proc/self/status; umask; ls /proc/self/fd").wait()
    directory, stdin, *masks = hosts.output.lines()[:4]
    assert (directory, stdin) == ("/", "/dev/null")
    # 32 and 33 are the C library's own: posix_spawn(3) has a child ignore them where its parent has used them.
    assert [int(mask.split()[1], 16) & ~(0b11 << 31) for mask in masks] == [0, 0]
    assert hosts.output.lines()[4:] == ["0022", "0", "1", "2", "3"]


def test_with_namespaces_the_tree_is_at_opt_ml_and_the_host_is_pid_1_of_its_own_name(apart: Hosts) -> None:
    (apart.base / "input/data/training/part").write_text("data")
    before = sorted(os.listdir("/opt"))
    look = "cat /opt/ml/input/data/training/part; echo; echo $$; cat /proc/sys/kernel/hostname; ls -d /opt/*"
    apart.run(f"{look}; ls /proc | grep -c '^[0-9]'").wait()
    data, pid, name, *opt, processes = apart.output.lines()
    assert (data, pid, name) == ("data", "1", "algo-1")
    assert opt == sorted({f"/opt/{entry}" for entry in [*before, "ml"] if not entry.startswith(".")})
    assert int(processes) <= 4  # those of this line
    assert sorted(os.listdir("/opt")) == before


def test_without_them_the_tree_is_in_the_base_directory_and_words_are_changed_to_it(plain: Hosts) -> None:
    (plain.base / "input/data/training/custom.sh").write_text('echo "$0 $1 $2 $KEPT $MOVED"; echo $SAGEMAKER_BASE_DIR')
    script = "/opt/ml/input/data/training/custom.sh"
    plain.run("/opt/ml", "/opt/mlx", entrypoint=("/bin/sh", script), MOVED="/opt/ml/model", KEPT="a/opt/ml").wait()
    base = plain.base
    said = [f"{base}/input/data/training/custom.sh {base} /opt/mlx a/opt/ml {base}/model", str(base)]
    assert plain.output.lines() == said


def test_a_read_only_mount_cannot_be_written_to_and_nothing_is_made_for_a_mount_that_is_not_there(
    apart: Hosts, tmp_path: Path
) -> None:
    objects, keeps = tmp_path / "objects", tmp_path / "keeps"
    for directory in (objects, keeps):
        directory.mkdir()
        (directory / "one").write_text("1")
    where = "/var/lib/not/there/yet"
    mounts = [Mount(objects, "/opt/ml/input/data/training", read_only=True), Mount(keeps, where)]
    apart.run(
        f"cat /opt/ml/input/data/training/one {where}/one; touch {where}/two /opt/ml/input/data/training/two; ls /var/lib >&2",
        mounts=mounts,
    ).wait()
    assert str(apart.output).startswith("11")
    assert "Read-only file system" in str(apart.output)
    assert sorted(os.listdir(objects)) == ["one"]
    assert sorted(os.listdir(keeps)) == ["one", "two"]
    assert set(os.listdir("/var/lib")) < set(apart.output.lines())
    assert not os.path.exists("/var/lib/not")


def test_without_mounts_a_channel_is_a_link_and_only_while_the_engine_is_there(plain: Hosts, tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    (objects / "one").write_text("1")
    mounts = [Mount(objects, "/opt/ml/input/data/training", read_only=True)]
    for _ in range(2):  # a host is started anew after an interruption
        plain.run("cat $SAGEMAKER_BASE_DIR/input/data/training/one", mounts=mounts).wait()
    assert str(plain.output) == "11"
    plain.engine.close()
    assert not (plain.base / "input/data/training").is_symlink()
    assert os.listdir(plain.base / "input/data/training") == []

    with pytest.raises(RefusedError, match="/mnt/checkpoints of algo-1 cannot be had") as refused:
        plain.run("true", mounts=[Mount(objects, "/mnt/checkpoints")])
    assert refused.value.code == USAGE


def test_hosts_resolve_each_others_names_those_that_were_started_before_too(apart: Hosts) -> None:
    resolve = """
import socket, time
while True:
    try:
        print(socket.gethostbyname('algo-2'), flush=True)
        break
    except OSError:
        time.sleep(0.02)
"""
    first = apart.run("-c", resolve, entrypoint=(sys.executable, "-I"))
    code = "import socket; print(*map(socket.gethostbyname, ('algo-1', 'algo-2', 'localhost')))"
    second = apart.run("-c", code, name="algo-2", entrypoint=(sys.executable, "-I"))
    assert (first.wait().code, second.wait().code) == (0, 0)
    assert sorted(apart.output.lines()) == ["127.0.1.1 127.0.1.2 127.0.0.1", "127.0.1.2"]
    apart.run("getent hosts algo-1 algo-2").wait()
    assert apart.output.lines()[-2:] == ["127.0.1.1       algo-1", "127.0.1.2       algo-2"]


def test_a_port_is_the_machines_own(hosts: Hosts) -> None:
    with pytest.raises(RefusedError, match="port 8080 of algo-1 cannot be port 9090"):
        hosts.engine.start(Start("algo-1", "", None, ("serve",), ports={8080: 9090}), hosts.output)
    started = hosts.engine.start(Start("algo-1", "", ("true",), (), ports={8080: 0}), hosts.output)
    assert started.ports() == {8080: 8080}


# -- smentry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("entrypoint", [None, ("smentry",)])
def test_smentry_of_this_package_takes_the_place_of_the_images_entrypoint(
    hosts: Hosts, entrypoint: Sequence[str] | None
) -> None:
    code = hosts.base / "input/data/code"
    code.mkdir()
    (code / "train.sh").write_text('trap "echo stopped; exit 0" TERM\necho ready\nwhile :; do sleep 0.02; done\n')
    (hosts.base / "input/config").mkdir()
    (hosts.base / "input/config/inputdataconfig.json").write_text('{"code": {"TrainingInputMode": "File"}}')
    started = hosts.run("train", entrypoint=entrypoint)
    hosts.wait_for("ready")
    started.signal(signal.SIGTERM)
    assert started.wait() == Ended(0)
    assert hosts.output.lines().count("stopped") == 1
    assert ("smentry[1]: " in str(hosts.output)) == hosts.namespaces


# -- its end ---------------------------------------------------------------------------------------


def test_every_byte_of_the_output_is_handed_over_before_the_end(hosts: Hosts) -> None:
    assert hosts.run("seq 1 100000; seq 1 100000 >&2; exit 7").wait() == Ended(7)
    assert hosts.output.lines() == [str(number) for number in range(1, 100001)] * 2


def test_the_end_of_pid_1_is_the_end_of_everything_whoever_holds_the_output(hosts: Hosts) -> None:
    hosts.run(
        "(setsid sh -c 'trap \"\" TERM HUP; echo ready; while :; do sleep 1; done' &) ; sleep 0.2; echo last"
    ).wait()
    assert hosts.output.lines()[-1] == "last"
    assert hosts.alive() == {}


def test_a_signal_is_sent_to_pid_1_and_its_code_is_128_and_the_signal(hosts: Hosts) -> None:
    started = hosts.run("trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.02; done")
    hosts.wait_for("ready")
    started.signal(signal.SIGUSR1)
    assert started.wait() == Ended(3)
    killed = hosts.run("sleep 1000")
    killed.signal(signal.SIGKILL)
    assert killed.wait() == Ended(137)
    killed.signal(signal.SIGKILL)  # nothing happens
    assert killed.wait() == Ended(137)


def test_pid_1_of_a_namespace_ignores_what_it_has_no_handler_for(apart: Hosts) -> None:
    started = apart.run("echo ready; while [ ! -e /opt/ml/enough ]; do sleep 0.02; done; exit 4")
    apart.wait_for("ready")
    started.signal(signal.SIGTERM)
    started.signal(signal.SIGUSR1)
    (apart.base / "enough").touch()
    assert started.wait() == Ended(4)


def test_close_kills_every_host_and_what_each_has_started(hosts: Hosts) -> None:
    for name in ("algo-1", "algo-2"):
        hosts.run("trap '' TERM; setsid sleep 1000 & sleep 1000 & echo ready $HOSTNAME; wait", name=name)
        hosts.wait_for(f"ready {name}")
    # One that is being executed has no environment to be found by.
    wait_until(lambda: len(hosts.alive()) >= 6, "three processes of each host")
    hosts.engine.close()
    assert hosts.alive() == {}
    hosts.engine.close()  # nothing more


STARTER = """
import os, sys
from pathlib import Path
from smentry.ctl.engine.base import Mount, Start
from smentry.ctl.engine.process import ProcessEngine
engine = ProcessEngine("killed", namespaces=sys.argv[1] == "namespaces")
words = ("trap '' TERM; setsid sleep 1000 & echo ready; wait",)
mounts = [Mount(Path(sys.argv[2]), "/opt/ml")]
host = Start("algo-1", "", ("/bin/sh", "-c"), words, {"STATE": sys.argv[3]}, mounts)
container = engine.start(host, lambda piece: os.write(1, piece))
print(container.usage() is not None, flush=True)
container.wait()
"""


@pytest.mark.parametrize("who", ["smentryctl", "helper"])
def test_nothing_outlives_who_has_started_it_even_one_that_is_killed(hosts: Hosts, who: str) -> None:
    if who == "helper" and not hosts.namespaces:
        pytest.skip("nobody but the kernel could do it: without a PID namespace it kills the host's PID 1 only")
    command = [
        sys.executable,
        "-c",
        STARTER,
        "namespaces" if hosts.namespaces else "plain",
        hosts.base,
        hosts.directory,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(hosts.directory)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert {starter.stdout.readline(), starter.stdout.readline()} == {"ready\n", "True\n"}
        wait_until(lambda: len(hosts.alive()) >= 2, "both processes")
        victim = starter.pid
        if who == "helper":
            children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
            victim = int(children[0])
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not hosts.alive(), "the end of everything")
        assert starter.wait(LIMIT) == (-signal.SIGKILL if who == "smentryctl" else 0)


def test_usage_counts_what_all_processes_of_the_host_have(hosts: Hosts) -> None:
    code = "import os, time\nheld = b'x' * 50_000_000\nif os.fork(): print('ready', flush=True)\ntime.sleep(1000)"
    started = hosts.run("-c", code, entrypoint=(sys.executable, "-I"))
    hosts.wait_for("ready")
    used = started.usage()
    assert used is not None
    assert 50_000_000 < used.memory < 95_000_000  # what the two share is counted once
    assert used.memory_limit == 0
    assert 0 < used.cpu_seconds < 60
    started.signal(signal.SIGKILL)
    started.wait()
    assert started.usage() is None


# -- what is left behind ---------------------------------------------------------------------------


def test_the_archive_has_what_is_there_also_what_the_job_took_its_own_rights_from(hosts: Hosts) -> None:
    model = 'm=$0; echo weights > "$m/w"; mkdir "$m/deep"; echo x > "$m/deep/x"; ln -s w "$m/link"; chmod 600 "$m/w"'
    locked = '; chmod 0 "$m/w" "$m/deep"' if hosts.namespaces or os.geteuid() == 0 else ""
    started = hosts.run(model + locked, "/opt/ml/model")
    assert started.wait() == Ended(0)
    stream = b"".join(hosts.engine.archive(started, "/opt/ml/model"))
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        assert sorted(archive.getnames()) == ["model", "model/deep", "model/deep/x", "model/link", "model/w"]
        weights = archive.extractfile("model/w")
        assert weights is not None
        assert weights.read() == b"weights\n"
        assert archive.getmember("model/w").mode == (0 if locked else 0o600)
        assert archive.getmember("model/link").linkname == "w"
    assert list(hosts.engine.archive(started, "/opt/ml/nothing")) == []
    (hosts.base / "output").mkdir()
    (hosts.base / "output/failure").write_text("why")
    stream = b"".join(hosts.engine.archive(started, "/opt/ml/output/failure"))
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        assert archive.getnames() == ["failure"]
    hosts.engine.remove(hosts.base)
    assert not hosts.base.exists()


def test_the_archive_of_a_mount_over_the_tree_is_of_what_is_mounted(hosts: Hosts, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (hosts.base / "checkpoints").mkdir()
    started = hosts.run("echo 1 > $0/one", "/opt/ml/checkpoints", mounts=[Mount(kept, "/opt/ml/checkpoints")])
    assert started.wait() == Ended(0)
    stream = b"".join(hosts.engine.archive(started, "/opt/ml/checkpoints"))
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        assert sorted(archive.getnames()) == ["checkpoints", "checkpoints/one"]


def test_an_engine_leaves_no_files(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with contextlib.closing(ProcessEngine("another", namespaces=hosts.namespaces)) as engine:
        engine.start(Start("algo-1", "", ("true",), ()), hosts.output).wait()
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


# -- what cannot be started, and what cannot be shown ----------------------------------------------


def test_a_program_that_is_not_there_or_not_executable_has_the_code_of_docker_run(hosts: Hosts) -> None:
    with pytest.raises(RefusedError, match="'nosuch' is not on this machine's PATH") as refused:
        hosts.run("x", entrypoint=("nosuch",))
    assert refused.value.code == NOT_FOUND
    with pytest.raises(RefusedError, match=r"'/dev/null' cannot be executed \(Permission denied\)") as refused:
        hosts.run("x", entrypoint=("/dev/null",))
    assert refused.value.code == NOT_EXECUTABLE
    assert hosts.alive() == {}


def test_a_mount_that_cannot_be_made_is_one_line(apart: Hosts, tmp_path: Path) -> None:
    with pytest.raises(
        RefusedError, match=r"algo-1 cannot be started: .*/absent: No such file or directory"
    ) as refused:
        apart.run("true", mounts=[Mount(tmp_path / "absent", "/opt/ml/model")])
    assert refused.value.code == USAGE


def test_what_cannot_be_shown_is_said_and_more_of_it_without_namespaces(apart: Hosts) -> None:
    without = ProcessEngine("plain", namespaces=False)
    fewer, more = (" ".join(engine.cannot_show()) for engine in (apart.engine, without))
    for word in ("image", "network", "limits of memory"):
        assert word in fewer
        assert word in more
    for word in ("PID 1's signals", "SAGEMAKER_BASE_DIR", "read-only", "do not resolve"):
        assert word not in fewer
        assert word in more
    assert ("yourself outside" in fewer) == (os.geteuid() != 0)


def test_a_variable_asks_for_plain_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMENTRYCTL_NAMESPACES", "no")
    engine = ProcessEngine("plain")
    assert engine.without == "not wanted: SMENTRYCTL_NAMESPACES=no"


def test_where_the_kernel_gives_no_namespaces_the_reason_is_told_and_plain_processes_run(tmp_path: Path) -> None:
    """An ordinary user in a user namespace that may have no more of them: user.max_user_namespaces is 0 there."""
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("no unshare, setpriv (util-linux)")
    code = (
        "from smentry.ctl.engine.process import ProcessEngine; from smentry.ctl.engine.base import Start\n"
        "engine = ProcessEngine('x'); print(engine.without)\n"
        "print(engine.start(Start('algo-1', '', ('sh', '-c', 'exit 5'), ()), print).wait().code); engine.close()"
    )
    # As root of a user namespace it has the right to make the others, until it is taken away.
    inside = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin "$@"'
    command = ["unshare", "-U", "-r", "sh", "-c", inside, "sh", sys.executable, "-c", code]
    tried = subprocess.run([*command[:3], "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no user namespaces here: {tried.stderr.decode()}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["unshare: No space left on device", "5"]


def test_an_ordinary_user_has_all_of_it(tmp_path: Path) -> None:
    """Root becomes one; who is one already has run the other tests as one."""
    if os.geteuid() != 0:
        pytest.skip("not root: every test here is one of an ordinary user")
    directory = Path("/var/tmp") / f"smentryctl-{os.getpid()}"
    directory.mkdir()
    (directory / "ml").mkdir()
    os.chown(directory / "ml", 65534, 65534)
    code = (
        "import sys; from pathlib import Path\n"
        "from smentry.ctl.engine.process import ProcessEngine; from smentry.ctl.engine.base import Mount, Start\n"
        "engine = ProcessEngine('x'); print(engine.without)\n"
        "words = ('sh', '-c', 'mkdir /opt/ml/d; echo 1 > /opt/ml/d/w; chmod 0 /opt/ml/d/w /opt/ml/d; echo $$; id -u')\n"
        "host = Start('algo-1', '', words, (), {}, [Mount(Path(sys.argv[1]), '/opt/ml')])\n"
        "container = engine.start(host, lambda piece: print(piece.decode(), flush=True))\n"
        "print(container.wait().code, len(b''.join(engine.archive(container, '/opt/ml/d/w'))) > 1000)\n"
        "engine.remove(Path(sys.argv[1], 'none')); engine.close()"
    )
    ordinary = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(directory / "ml"), "HOME": "/"}
    try:
        try_python = "import subprocess, sys, psutil; subprocess.run([sys.executable, '-c', ''], check=True)"
        tried = [*ordinary, sys.executable, "-c", try_python]
        if shutil.which("setpriv") is None or subprocess.run(tried, env=environment, capture_output=True).returncode:
            pytest.skip("an ordinary user cannot run this Python, or there is no setpriv")
        command = [*ordinary, sys.executable, "-c", code, str(directory / "ml")]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        without, *said = ran.stdout.split("\n")
        if without:
            pytest.skip(f"no namespaces for an ordinary user: {without}")
        assert [line for line in said if line] == ["1", "0", "0 True"]
        assert stat.S_IMODE((directory / "ml/d").stat().st_mode) == 0
    finally:
        shutil.rmtree(directory)
