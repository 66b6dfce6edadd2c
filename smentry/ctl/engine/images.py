"""Images of the Docker engine: building one for a while, its ENTRYPOINT, and what it prints. It knows no hosts and no jobs."""

from __future__ import annotations

import contextlib
import secrets

from smentry.ctl.engine.docker import LABEL, SECONDS, refusing
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from smentry.ctl.engine.base import Mount

MOST_LISTED = 30
"""Lines of a failed build that are shown: the last ones."""


class Images:
    """The images of the engine that docker would use. Raises NoEngineError where none answers."""

    def __init__(self) -> None:
        from docker.client import DockerClient

        with refusing("the container engine cannot be used"):
            self._client: Any = DockerClient.from_env(timeout=SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @contextlib.contextmanager
    def built(self, directory: Path, say: Callable[[str], None]) -> Iterator[str]:
        """The name of an image built from the directory's Dockerfile, which is removed afterwards. `say` takes a line for people.

        By the engine's own builder, as with DOCKER_BUILDKIT=0. Raises RefusedError with the last lines of a build that fails.
        """
        if not (directory / "Dockerfile").is_file():
            raise RefusedError(f"{directory}: expected an image or a directory with a Dockerfile, found none in it")
        import docker.errors

        # Removed by this name: an image that the user has built from the same directory stays.
        name = f"{LABEL}-built:{secrets.token_hex(8)}"
        with refusing(f"{directory} cannot be built"):
            try:
                self._client.images.build(path=str(directory), tag=name, rm=True, forcerm=True)
            except docker.errors.BuildError as error:
                raise RefusedError(
                    f"{directory}/Dockerfile: {' '.join(error.msg.split())}", details=_end(error)
                ) from None
        try:
            yield name
        finally:
            with refusing(f"the image {name} cannot be removed"):
                self._client.images.remove(name, force=True)

    def entrypoint(self, image: str) -> list[str]:
        """The ENTRYPOINT of an image of this machine; empty where it has none."""
        return list(self.configuration(image).get("Entrypoint") or ())

    def configuration(self, image: str) -> Mapping[str, Any]:
        """What `docker inspect` shows as Config of an image of this machine."""
        import docker.errors

        with refusing(f"the image {image!r} cannot be inspected"):
            try:
                found = self._client.images.get(image)
            except docker.errors.ImageNotFound:
                raise RefusedError(f"the image {image!r} is not on this machine: pull it or build it first") from None
        return dict(found.attrs["Config"] or {})

    @contextlib.contextmanager
    def exported(self, image: str) -> Iterator[Iterable[bytes]]:
        """All files of an image as a tar stream, its layers one over the other. The container that is made is never started."""
        with refusing(f"the files of {image!r} cannot be read"):
            made = self._client.containers.create(image, ["true"], labels={LABEL: "image"}, network_mode="none")
            try:
                yield made.export(chunk_size=1 << 20)
            finally:
                made.remove(force=True, v=True)

    def printed(
        self,
        image: str,
        entrypoint: Sequence[str] | None,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[Mount] = (),
    ) -> tuple[int, bytes, bytes]:
        """Run a container of the image, without a network; its exit code, and what it wrote to stdout and to stderr."""
        from docker.types import Mount as Bind

        with refusing(f"a container of {image!r} cannot be started"):
            container = self._client.containers.create(
                image,
                list(arguments),
                entrypoint=None if entrypoint is None else list(entrypoint),
                environment=dict(environment),
                labels={LABEL: "image"},
                mounts=[
                    Bind(mount.target, str(mount.source), type="bind", read_only=mount.read_only) for mount in mounts
                ],
                network_mode="none",
            )
            try:
                container.start()
                code = int(container.wait(timeout=SECONDS)["StatusCode"])
                return code, container.logs(stderr=False), container.logs(stdout=False)
            finally:
                container.remove(force=True, v=True)


def _end(error: Any) -> tuple[str, ...]:
    """The last lines of what a failed build has printed."""
    text = "".join(step.get("stream", "") for step in error.build_log)
    return tuple(f"  {line}" for line in text.splitlines()[-MOST_LISTED:])
