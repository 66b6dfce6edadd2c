"""Hosts as containers of the Docker engine, by its own library. It knows neither requests nor what a result is."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import sys
import threading
from http import HTTPStatus

from smentry.ctl.engine.base import Ended, Usage
from smentry.errors import NOT_EXECUTABLE, NOT_FOUND, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from smentry.ctl.engine.base import Output, Start

LABEL = "smentryctl"
"""The label of everything that is made; its value is the engine object's own name, so that a person can find what is left
after a SIGKILL: `docker ps --all --filter label=smentryctl`."""

PIECE = 1 << 20
"""Bytes of an archive that are taken at a time."""

SECONDS = 60
"""How long the engine may take for an answer, except where it waits for a container."""

BESIDE = "smentryctl"
"""Where a directory that is to be removed is mounted, in a container that is never started."""


class NoEngineError(RefusedError):
    """No engine answers, or it may not be used."""


class DockerContainer:
    """A host that has been started."""

    def __init__(self, api: Any, identity: str, name: str, reading: threading.Thread) -> None:
        self.name = name
        self.identity = identity
        self._api = api
        self._reading = reading

    def signal(self, number: int) -> None:
        """Send a signal to PID 1 of the container; nothing where it has ended."""
        import docker.errors

        with refusing(f"{self.name} cannot be sent signal {number}"):
            try:
                self._api.kill(self.identity, number)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # removed; not running
                    raise

    def wait(self) -> Ended:
        """Wait for the end. All output has been handed over by then."""
        import docker.errors

        with refusing(f"{self.name} cannot be waited for"):
            code = int(self._api.wait(self.identity, timeout=None)["StatusCode"])
            try:
                state = self._api.inspect_container(self.identity)["State"]
            except docker.errors.NotFound:  # archive() says what that means
                state = {}
        self._reading.join()
        return Ended(code, out_of_memory=bool(state.get("OOMKilled")))

    def usage(self) -> Usage | None:
        """What it uses now; None where that cannot be seen, or it has ended."""
        import docker.errors
        import requests

        try:
            return measured(self._api.stats(self.identity, stream=False, one_shot=True))
        except (docker.errors.DockerException, requests.RequestException):
            return None

    def ports(self) -> Mapping[int, int]:
        """Port of the container → port on 127.0.0.1 of this machine."""
        with refusing(f"the ports of {self.name} cannot be seen"):
            bound = self._api.inspect_container(self.identity)["NetworkSettings"]["Ports"] or {}
        return {int(port.partition("/")[0]): int(on[0]["HostPort"]) for port, on in bound.items() if on}


class DockerEngine:
    """The engine that DOCKER_HOST or the current context names, and a network of its own for these hosts.

    `name` is a word for people, such as the job's name. With `isolated` the hosts reach each other and nothing else, as with
    EnableNetworkIsolation. `say` takes a line for people: that an image is pulled.
    Raises NoEngineError where none answers.
    """

    def __init__(self, name: str, *, isolated: bool = False, say: Callable[[str], None] | None = None) -> None:
        from docker.client import DockerClient

        self._name = f"{re.sub('[^a-zA-Z0-9_.-]', '-', name)}-{secrets.token_hex(4)}"
        self._isolated = isolated
        self._say = say or (lambda line: print(f"smentryctl: {line}", file=sys.stderr, flush=True))
        self._image = ""
        self._network = ""
        with refusing("the container engine cannot be used"):
            self._api = DockerClient.from_env(timeout=SECONDS, max_pool_size=100).api

    def cannot_show(self) -> Sequence[str]:
        """Nothing: containers are what the platform has."""
        return ()

    def prepare(self, image: str) -> None:
        """See that the image is there, or pull it as `docker run` would."""
        import docker.errors

        with refusing(f"the image {image!r} cannot be used"):
            try:
                self._api.inspect_image(image)
            except docker.errors.ImageNotFound:
                self._pull(image)
        self._image = image

    def _pull(self, image: str) -> None:
        import docker.errors

        self._say(f"the image {image} is not on this machine: pulling it")
        try:
            failed = [step["error"] for step in self._api.pull(image, stream=True, decode=True) if "error" in step]
        except docker.errors.APIError as error:
            failed = [error.explanation or str(error)]
        if failed:
            told = _one_line(failed[0])
            raise RefusedError(
                f"the image {image!r} is not on this machine and cannot be pulled ({told}); build it, or log in to its registry"
            )

    def start(self, host: Start, output: Output) -> DockerContainer:
        """Start a host. Raises RefusedError; its code is 126 or 127 where `docker run` would exit so, since the image has no such
        program: then it is the job that has failed."""
        with refusing(f"{host.name} cannot be started"):
            identity = self._created(host)
            # Attached before the start, so that no output is lost.
            stream = self._api.attach_socket(identity, {"stdout": 1, "stderr": 1, "stream": 1})
            reading = threading.Thread(
                target=_hand_over, args=(stream, output), name=f"output of {host.name}", daemon=True
            )
            reading.start()
            self._started(identity, host)
        return DockerContainer(self._api, identity, host.name, reading)

    def _created(self, host: Start) -> str:
        from docker.types import DeviceRequest, EndpointConfig, Mount

        if not self._network:
            made = self._api.create_network(
                f"{LABEL}-{self._name}", driver="bridge", internal=self._isolated, labels={LABEL: self._name}
            )
            self._network = str(made["Id"])
        version = self._api.api_version
        gpus = []
        if host.gpus:
            count = -1 if host.gpus == "all" else int(host.gpus)
            gpus = [DeviceRequest(count=count, capabilities=[["gpu"]])]
        container = self._api.create_container(
            host.image,
            name=f"{LABEL}-{self._name}-{host.name}-{secrets.token_hex(2)}",  # a host may be started anew
            hostname=host.name,
            entrypoint=None if host.entrypoint is None else list(host.entrypoint),
            command=list(host.arguments) or None,
            environment=dict(host.environment),
            ports=list(host.ports),
            labels={LABEL: self._name},
            networking_config={"EndpointsConfig": {self._network: EndpointConfig(version, aliases=[host.name])}},
            host_config=self._api.create_host_config(
                mounts=[
                    Mount(mount.target, str(mount.source), type="bind", read_only=mount.read_only)
                    for mount in host.mounts
                ],
                port_bindings={port: ("127.0.0.1", on or None) for port, on in host.ports.items()},
                device_requests=gpus or None,
                network_mode=self._network,
            ),
        )
        return str(container["Id"])

    def _started(self, identity: str, host: Start) -> None:
        import docker.errors

        try:
            self._api.start(identity)
        except docker.errors.APIError as error:
            told = _one_line(error.explanation or str(error))
            code = code_of_docker_run(told)
            if code:
                raise RefusedError(_no_program(told, host, code), code) from None
            raise

    def archive(self, container: DockerContainer, path: str) -> Generator[bytes, None, None]:
        """What is at `path` as a tar stream, below the last name of `path`; whoever owns it. Empty where there is nothing."""
        # Not the library's get_archive(): what it gives cannot be closed, and the engine removes no container that it reads from.
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container.identity}/archive"
        with refusing(f"{path} of {container.name} cannot be read"):
            with self._api.get(url, params={"path": path}, stream=True, timeout=SECONDS) as response:
                if response.ok:
                    yield from response.iter_content(PIECE)
                    return
                told = _one_line(response.json()["message"])
            state = self._state(container)
            if not state or state["Dead"] or state["Status"] == "removing":
                raise RefusedError(f"{container.name} has been removed by somebody else")
            if response.status_code != HTTPStatus.NOT_FOUND:
                raise RefusedError(f"{path} of {container.name} cannot be read: {told}")

    def _state(self, container: DockerContainer) -> Mapping[str, Any]:
        """What `docker inspect` shows as State; nothing where there is no such container any more."""
        import docker.errors

        try:
            found: Mapping[str, Any] = self._api.inspect_container(container.identity)["State"]
        except docker.errors.NotFound:
            return {}
        return found

    def remove(self, directory: Path) -> None:
        """Remove a directory of this machine that containers could write to, whoever owns what they wrote.

        A container of the image, which may have no `rm` and is never started, has the directory mounted. The engine, which is
        root, unpacks archives into it: one that makes the directory anybody's, and one that puts an empty file in the
        place of whatever could not be removed; the rest is an ordinary user's to do.
        """
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists() and self._image:
            try:
                self._open_up(directory)
            except RefusedError as refused:
                self._say(f"{directory} is left, for root to remove: {refused.message}")
            shutil.rmtree(directory, ignore_errors=True)

    def _open_up(self, directory: Path) -> None:
        from docker.types import Mount

        with refusing("it cannot be mounted"):
            made = self._api.create_container(
                self._image,
                command=["true"],
                name=f"{LABEL}-{self._name}-remove-{secrets.token_hex(4)}",
                labels={LABEL: self._name},
                host_config=self._api.create_host_config(
                    mounts=[Mount(f"/{BESIDE}", str(directory), type="bind")], network_mode="none"
                ),
            )
            try:
                self._api.put_archive(made["Id"], "/", _tar({BESIDE: True}))
                left = [entry.name for entry in directory.iterdir()]
                self._api.put_archive(made["Id"], "/", _tar({f"{BESIDE}/{name}": False for name in left}))
            finally:
                self._remove(made["Id"])
                self._api.close()

    def close(self) -> None:
        """Remove every container and the network, containers that still run included. What cannot be removed is said, for it is
        no reason to lose what the hosts have left."""
        import docker.errors

        mine = f"{LABEL}={self._name}"
        try:
            if self._network:
                with refusing("containers cannot be removed"):
                    for container in self._api.containers(all=True, filters={"label": mine}):
                        self._remove(container["Id"])
                with (
                    refusing("the network of the hosts cannot be removed"),
                    contextlib.suppress(docker.errors.NotFound),
                ):
                    self._api.remove_network(self._network)
        except RefusedError as refused:
            left = f"docker ps --all --filter label={mine}; docker network ls --filter label={mine}"
            self._say(f"{refused.message}; what is left shows: {left}")
        self._network = ""
        self._api.close()  # its connections; it makes others where it is used again

    def _remove(self, identity: str) -> None:
        import docker.errors

        with contextlib.suppress(docker.errors.NotFound):
            try:
                self._api.remove_container(identity, force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code != HTTPStatus.CONFLICT:
                    raise
                self._api.wait(identity, timeout=SECONDS, condition="removed")  # somebody else is removing it


def measured(stats: Mapping[str, Any]) -> Usage | None:
    """What `docker stats` makes of the engine's answer; None for a container that has ended.

    The page cache that can be dropped is no memory of the program: `total_inactive_file` of cgroup v1, `inactive_file` of v2.
    """
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    detail = memory.get("stats") or {}
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    used = memory["usage"]
    nanoseconds = stats["cpu_stats"]["cpu_usage"]["total_usage"]
    return Usage(used - cache if cache < used else used, memory.get("limit", 0), nanoseconds / 1e9)


def code_of_docker_run(told: str) -> int:
    """127 or 126 where `docker run` exits so for this text of the engine, else 0: it is not the image's program that is wrong.

    docker-run(1): 126 where the command cannot be invoked, 127 where it cannot be found.
    """
    if "runc" not in told and "OCI runtime" not in told and "exec: " not in told:
        return 0
    if "executable file not found" in told or "no such file or directory" in told:
        return NOT_FOUND
    return NOT_EXECUTABLE if "permission denied" in told or "is a directory" in told else 0


def _no_program(told: str, host: Start, code: int) -> str:
    found = re.search(r'exec: "([^"]*)"', told)
    if found is None:
        return f"{host.name} cannot be started: {told} (exit code {code})"
    what = "is not in the image" if code == NOT_FOUND else "is not executable in the image"
    return f"{host.name} cannot be started: {found[1]!r} {what} {host.image} (exit code {code})"


def _hand_over(stream: Any, output: Output) -> None:
    from docker.utils.socket import frames_iter

    with contextlib.closing(stream), contextlib.suppress(OSError):  # OSError: the engine has gone, wait() says so
        for _, piece in frames_iter(stream, tty=False):
            output(piece)


def _tar(entries: Mapping[str, bool]) -> bytes:
    """An archive of empty entries for anybody; True: a directory, False: a file."""
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, directory in entries.items():
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
            entry.mode = 0o777
            tar.addfile(entry)
    return made.getvalue()


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn what the library raises into one line for the user, which begins with `what`."""
    import docker.errors
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        told = _one_line(error.explanation or str(error))
        raise RefusedError(f"{what}: {told}{_hint(told)}") from None
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError) as error:
        raise NoEngineError(_why_no_answer(error)) from None


def _hint(told: str) -> str:
    if "could not select device driver" in told:
        return "; install the NVIDIA container toolkit, or leave --gpus out"
    if "bind source path does not exist" in told or "mounts denied" in told:
        return "; the engine must see the directories of this machine: set TMPDIR to one that it shares"
    return ""


def _why_no_answer(error: BaseException) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, PermissionError):
            return "the container engine may not be used: permission denied on its socket; join the group docker, or use sudo"
        if isinstance(cause, (FileNotFoundError, ConnectionRefusedError)):
            return "no container engine answers: is Docker installed and running? DOCKER_HOST or the context names it"
    return f"no container engine answers: {_one_line(str(error))}"


def _causes(error: object) -> Iterator[BaseException]:
    """The error and what it was raised from; the libraries hand the operating system's own on as an argument."""
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            left += [*one.args, one.__cause__, one.__context__, getattr(one, "reason", None)]
            yield one
