"""Hosts as processes of this machine, where there is no container engine: each with a PID namespace and mounts of its own where
the kernel lets an ordinary user have them, else below SAGEMAKER_BASE_DIR. It knows neither requests nor what a result is.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from smentry.ctl.engine.base import Ended, Start, Usage
from smentry.errors import NOT_FOUND, USAGE, RefusedError
from smentry.sagemaker.layout import BASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any

    from smentry.ctl.engine.base import Mount, Output
    from smentry.ctl.engine.namespace import Spec

VARIABLE = "SMENTRYCTL_NAMESPACES"
"""`no` in this variable of smentryctl: plain processes also where the kernel would give namespaces."""

LIMIT = 15.0
"""Seconds a helper program may take to end when everything of its host is killed: more than it gives itself for that."""

_HOSTS, _NAME_SERVICES = Path("/etc/hosts"), Path("/etc/nsswitch.conf")


class ProcessContainer:
    """A host that has been started: the helper program above it, and the socket to that."""

    def __init__(self, host: Start, helper: subprocess.Popen[bytes], channel: socket.socket, output: Output) -> None:
        self.name = host.name
        self.host = host
        self._helper = helper
        self._channel = channel
        self._answers = channel.makefile("rb")
        self._asking = threading.Lock()
        self._ended: Ended | None = None
        self._reading = threading.Thread(
            target=self._hand_over, args=(output,), name=f"output of {host.name}", daemon=True
        )
        self._reading.start()

    def answer(self) -> dict[str, Any]:
        """What the helper program says next; nothing where it has ended."""
        line = self._answers.readline()
        return dict(json.loads(line)) if line else {}

    def signal(self, number: int) -> None:
        """Send a signal to PID 1 of the host; nothing where it has ended."""
        with contextlib.suppress(OSError):
            self._channel.sendall(bytes((number,)))

    def wait(self) -> Ended:
        """Wait for the end. All output has been handed over by then."""
        with self._asking:
            if self._ended is None:
                code = self.answer().get("code", 137)  # without an answer the helper was killed, and the host with it
                self._helper.wait()
                self._reading.join(LIMIT)  # longer only where a process that cannot be killed holds the pipe
                self._ended = Ended(code)
            return self._ended

    def usage(self) -> Usage | None:
        """What its processes use now; None where it has ended. Memory that processes share is counted once."""
        import psutil

        memory, seconds = 0, 0.0
        try:
            processes = psutil.Process(self._helper.pid).children(recursive=True)
        except psutil.Error:
            return None
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
                memory += process.memory_full_info().pss
        return Usage(memory, 0, seconds) if processes else None

    def ports(self) -> Mapping[int, int]:
        """Port of the host → port on 127.0.0.1 of this machine: the same, for the network is shared."""
        return {port: port for port in self.host.ports}

    def kill(self) -> None:
        """Kill everything of the host; `wait` then waits for that."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See to its end after `kill`, and let go of it."""
        try:
            self._helper.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._helper.kill()
            self._helper.wait()
        self._reading.join(LIMIT)
        self._answers.close()
        self._channel.close()

    def _hand_over(self, output: Output) -> None:
        pipe = self._helper.stdout
        assert pipe is not None
        with pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                output(piece)


class ProcessEngine:
    """Hosts as processes; `name` is a word for people, such as the job's name.

    `namespaces` False: plain processes under SAGEMAKER_BASE_DIR. True or None: namespaces where the kernel gives them, which is
    found out by trying. `cannot_show` tells which of the two it is.
    """

    def __init__(self, name: str, *, namespaces: bool | None = None) -> None:
        self._name = re.sub("[^a-zA-Z0-9_.-]", "-", name)
        self._wanted = namespaces if namespaces is not None else os.environ.get(VARIABLE) != "no"
        self._containers: list[ProcessContainer] = []
        self._addresses: dict[str, str] = {}
        self._links: dict[Path, Path] = {}

    @functools.cached_property
    def without(self) -> str:
        """Why there are no namespaces; empty where there are."""
        if not self._wanted:
            return f"not wanted: {VARIABLE}=no" if os.environ.get(VARIABLE) == "no" else "not wanted"
        with tempfile.TemporaryDirectory(prefix="smentryctl-") as tree:
            mounts = [(tree, BASE, False)]
            spec: Spec = {"namespaces": True, "name": "algo-1", "words": [], "environment": {}, "mounts": mounts}
            tried = _helped(Start("algo-1", "", None, ()), spec, lambda _: None)
            said = tried.answer()
            tried.kill()
            tried.close()
        return "" if "pid" in said else str(said.get("error") or "the helper program failed")

    def cannot_show(self) -> Sequence[str]:
        """What of the platform this engine cannot show; a line each."""
        lines = [
            "the image: its files, libraries and users; what runs is this machine's own, and can change this machine's files"
        ]
        if self.without:
            lines += [
                f"a PID namespace and mounts of its own ({self.without}): these are plain processes",
                f"{BASE}: the job's tree is where SAGEMAKER_BASE_DIR says; words of the entrypoint, arguments and variables that "
                f"begin with {BASE} are changed to that, a program's own are not",
                "read-only channels: they can be written to",
                "PID 1's signals: a signal without a handler ends the program, where a container's PID 1 would ignore it",
                "host names: algo-1 and so on do not resolve, and smentry does not wait for them",
            ]
        elif os.geteuid() != 0:
            lines.append("users: what runs is root inside and yourself outside, and cannot become anybody else")
        lines += [
            "the network: it is this machine's, without any isolation"
            + ("" if self.without else ", and algo-1, algo-2, … are 127.0.1.1, 127.0.1.2, …"),
            "limits of memory: there are none, and it is not seen whether memory ran out",
        ]
        return lines

    def prepare(self, image: str) -> None:
        """Nothing: no image is used."""

    def start(self, host: Start, output: Output) -> ProcessContainer:
        """Start a host, with smentry itself where no entrypoint is given or it is the word `smentry`.

        Raises RefusedError; its code is 126 or 127 where the program cannot be executed or found.
        """
        for port, on in host.ports.items():
            if on not in (0, port):
                raise RefusedError(
                    f"port {port} of {host.name} cannot be port {on} of this machine: without an engine the network is shared; "
                    f"ask for {port}"
                )
        words = [*(host.entrypoint or ("smentry",)), *host.arguments]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "HOSTNAME": host.name,
            **host.environment,
        }
        if self.without:
            base = str(self._base(host))
            for mount in host.mounts:
                if mount.target != BASE:
                    self._link(mount, Path(base), host.name)
            words = [_moved(word, base) for word in words]
            environment = {name: _moved(text, base) for name, text in environment.items()}
            environment.setdefault("SMENTRY_WAIT_HOSTS", "0")  # their names do not resolve
            environment.setdefault("SMENTRY_WATCH_HOSTS", "0")
            environment["SAGEMAKER_BASE_DIR"] = base
            mounts = []
        else:
            mounts = [(str(mount.source.absolute()), mount.target, mount.read_only) for mount in host.mounts]
            mounts += self._names(host.name)
        if words[0] == "smentry":
            words[:1] = _python("smentry.__main__")
        spec: Spec = {
            "namespaces": not self.without,
            "name": host.name,
            "words": words,
            "environment": environment,
            "mounts": mounts,
        }
        container = _helped(host, spec, output)
        said = container.answer()
        if "pid" not in said:
            container.kill()
            container.close()
            raise RefusedError(*_why_not_started(host, said))
        self._containers.append(container)
        return container

    def archive(self, container: ProcessContainer, path: str) -> Generator[bytes, None, None]:
        """What is at `path` as a tar stream, below the last name of `path`; whoever owns it. Empty where there is nothing."""
        there = self._here(container.host, path)
        command = _python("smentry.ctl.engine.packing", there, os.path.basename(path))
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command, stdin=null, stdout=pipe, stderr=pipe) as packing:
            assert packing.stdout is not None
            assert packing.stderr is not None
            while piece := packing.stdout.read(1 << 16):
                yield piece
            told = packing.stderr.read().decode(errors="replace").strip()
        if packing.returncode:
            raise RefusedError(f"{path} of {container.name} cannot be read: {told}")

    def remove(self, directory: Path) -> None:
        """Remove a directory that hosts could write to, also where they took the right to that away."""
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            for there, _, _ in os.walk(directory):  # from above: each is opened up before it is gone into
                for entry in os.scandir(there):
                    if entry.is_dir(follow_symlinks=False):
                        os.chmod(entry.path, 0o700)
            shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        """Kill every host that still runs, and remove what this engine has made."""
        for container in self._containers:
            container.kill()
        for container in self._containers:
            container.close()
        self._containers.clear()
        for link in self._links:
            if link.is_symlink():
                link.unlink()
                link.mkdir()
        self._links.clear()
        if "_scratch" in self.__dict__:
            shutil.rmtree(self.__dict__.pop("_scratch"), ignore_errors=True)

    # -- what a host is started with ---------------------------------------------------------------

    @functools.cached_property
    def _scratch(self) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"smentryctl-{self._name}-"))

    def _names(self, name: str) -> list[tuple[str, str, bool]]:
        """Mounts with which the names of all hosts resolve: one file for all of them, which grows with each."""
        hosts, services = self._scratch / "hosts", self._scratch / "nsswitch.conf"
        if not _HOSTS.exists():
            return []
        if not hosts.exists():
            own = _HOSTS.read_text(errors="surrogateescape")
            hosts.write_text(f"{own}\n", errors="surrogateescape")
            if _NAME_SERVICES.exists():
                # systemd's `resolve` would answer for the machine's file, and before `files` (nss-resolve(8)).
                text = _NAME_SERVICES.read_text(errors="surrogateescape")
                services.write_text(re.sub(r"(?m)^\s*hosts:.*$", "hosts: files dns", text), errors="surrogateescape")
        if name not in self._addresses:
            self._addresses[name] = f"127.0.1.{len(self._addresses) + 1}"
            with hosts.open("a") as file:  # not written anew: it is mounted already
                file.write(f"{self._addresses[name]}\t{name}\n")
        mounts = [(str(hosts), str(_HOSTS), False)]
        return [*mounts, (str(services), str(_NAME_SERVICES), False)] if services.exists() else mounts

    def _base(self, host: Start) -> Path:
        """The directory that takes the place of /opt/ml."""
        given = (mount.source.absolute() for mount in host.mounts if mount.target == BASE)
        return next(given, self._scratch / host.name / "ml")

    def _link(self, mount: Mount, base: Path, name: str) -> None:
        if not mount.target.startswith(f"{BASE}/"):
            raise RefusedError(
                f"{mount.target} of {name} cannot be had without mounts of its own ({self.without}): expected a path under "
                f"{BASE}, or a container engine"
            )
        link = base / mount.target[len(BASE) + 1 :]
        if self._links.get(link) == mount.source:
            return  # of a host that is started anew
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_dir():
                link.rmdir()
            link.symlink_to(mount.source.absolute())
        except OSError as error:
            raise RefusedError(f"{link} cannot become a link to {mount.source}: {error.strerror}") from None
        self._links[link] = mount.source

    def _here(self, host: Start, path: str) -> str:
        """Where on this machine a path of the host is: below the source of the last mount over it."""
        base = [(str(self._base(host)), BASE)] if self.without else []
        mounts = [*base, *((str(mount.source.absolute()), mount.target) for mount in host.mounts)]
        for source, target in reversed(mounts):
            if f"{path}/".startswith(f"{target}/"):
                return os.path.normpath(source + path[len(target) :])
        return path


def _helped(host: Start, spec: Spec, output: Output) -> ProcessContainer:
    """The helper program, which has been told of the host and has not answered yet."""
    ours, theirs = socket.socketpair()
    with theirs:
        helper = subprocess.Popen(
            _python("smentry.ctl.engine.namespace", str(theirs.fileno())),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # a terminal's ^C is for smentryctl
        )
    container = ProcessContainer(host, helper, ours, output)
    with contextlib.suppress(OSError):  # it has failed; its answer is missing then
        ours.sendall(json.dumps(spec).encode() + b"\n")
    return container


def _python(module: str, *words: str) -> list[str]:
    """The command that runs `main` of a module of this very package, whatever is installed and wherever it is run."""
    package = str(Path(__file__).resolve().parents[3])
    code = f"import sys; sys.path.insert(0, {package!r}); from {module} import main; main()"
    return [sys.executable, "-I", "-c", code, *words]


def _moved(word: str, base: str) -> str:
    return base + word[len(BASE) :] if f"{word}/".startswith(f"{BASE}/") else word


def _why_not_started(host: Start, said: Mapping[str, Any]) -> tuple[str, int]:
    """The message, and the exit code that `docker run` would have."""
    if "program" not in said:
        return f"{host.name} cannot be started: {said.get('error', 'the helper program failed, see the output')}", USAGE
    program, code = said["program"], said["code"]
    where = "on this machine" if "/" in program else "on this machine's PATH"
    what = f"is not {where}" if code == NOT_FOUND else f"cannot be executed ({said['error']})"
    return f"{host.name} cannot be started: {program!r} {what}, and no image is used (exit code {code})", code
