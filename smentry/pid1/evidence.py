"""What the kernel counted while a program ran: kills for lack of memory, and the room in /dev/shm. It explains nothing."""

from __future__ import annotations

import os

SHARED = "/dev/shm"
_NO_LIMIT = 1 << 62
"""What memory.limit_in_bytes shows without a limit is the largest number of pages there is (cgroup-v1/memory.rst)."""


class Evidence:
    """Counts from the start of a run to the main process's end; None where the kernel does not say.

    `oom_kills`: processes of the container that the kernel killed for lack of memory. `memory_limit` and `memory_peak` (bytes):
    of the control group; the peak is that of its whole life, or what it holds now where the kernel keeps no peak. `shm_size`
    and `shm_free` (bytes): of /dev/shm.
    """

    __slots__ = ("memory_limit", "memory_peak", "oom_kills", "shm_free", "shm_size")

    def __init__(self) -> None:
        self.oom_kills: int | None = None
        self.memory_limit: int | None = None
        self.memory_peak: int | None = None
        self.shm_size: int | None = None
        self.shm_free: int | None = None


class Baseline:
    """The control group of this process, and how many kills it had counted when the run began.

    `root` is the file system's root, for tests.
    """

    __slots__ = ("_before", "_group", "_root")

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._group = _group(root)
        self._before = self._group.kills() if self._group is not None else None

    def evidence(self) -> Evidence:
        """What can be seen now: a few short reads."""
        found = Evidence()
        group = self._group
        if group is not None:
            kills = group.kills()
            if kills is not None:
                found.oom_kills = kills - (self._before or 0)
            found.memory_limit = group.limit()
            found.memory_peak = group.peak()
        try:
            shared = os.statvfs(self._root + SHARED)
        except OSError:
            return found
        if shared.f_blocks:  # a tmpfs without a limit has none (tmpfs(5))
            found.shm_size = shared.f_blocks * shared.f_frsize
            found.shm_free = shared.f_bavail * shared.f_frsize
        return found


class _Group:
    """A memory control group: `path` of its directory, below `mount`, of `version` 1 or 2."""

    __slots__ = ("mount", "path", "version")

    def __init__(self, mount: str, path: str, version: int) -> None:
        self.mount = mount
        self.path = path
        self.version = version

    def kills(self) -> int | None:
        """How many processes of the group, and of those below, the kernel has killed for lack of memory."""
        # cgroup-v2.rst, memory.events; cgroup-v1/memory.rst, memory.oom_control (since Linux 4.13). Whichever limit it was,
        # the group's own or one further up, the kill is counted for the group of the killed (memcg_memory_event()).
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in _read(f"{self.path}/{name}").splitlines():
            key, _, value = line.partition(b" ")
            if key == b"oom_kill" and value.isdigit():
                return int(value)
        return None

    def limit(self) -> int | None:
        """The least limit of the group and those above it, as far as they can be seen."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        limits, path = [], self.path
        while True:
            value = _number(f"{path}/{name}")
            if value is not None and value < _NO_LIMIT:
                limits.append(value)
            if len(path) <= len(self.mount):
                return min(limits) if limits else None
            path = os.path.dirname(path)

    def peak(self) -> int | None:
        """The most it has ever held; what it holds now before Linux 5.19, which has no such file in version 2."""
        if self.version == 1:
            return _number(f"{self.path}/memory.max_usage_in_bytes")
        peak = _number(f"{self.path}/memory.peak")
        return _number(f"{self.path}/memory.current") if peak is None else peak


def _group(root: str) -> _Group | None:
    """The memory control group of this process; None where there is none to be seen (cgroups(7))."""
    first: str | None = None
    second: str | None = None
    for line in _read(f"{root}/proc/self/cgroup").splitlines():
        number, _, rest = line.decode("utf-8", "surrogateescape").partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            first = path
        elif number == "0" and not controllers:
            second = path
    for where, version in ((first, 1), (second, 2)):
        if where is None:
            continue
        for top, mount in _mounts(root, version):
            group = _Group(root + mount, root + mount, version)
            # What is mounted is the tree from `top` on. In a container both are the root of its namespace, or, without one, what
            # the host calls the container's group; then the group itself is what is mounted.
            inside = where == top or where.startswith(top.rstrip("/") + "/")
            inner = _Group(group.mount, (group.mount + where[len(top.rstrip("/")) :] * inside).rstrip("/"), version)
            for candidate in (inner, group):
                if candidate.kills() is not None:
                    return candidate
    return None


def _mounts(root: str, version: int) -> list[tuple[str, str]]:
    """Where a hierarchy is mounted: of each mount its root in the hierarchy, and its place (proc(5), mountinfo)."""
    found = []
    for line in _read(f"{root}/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2" if version == 2 else kind[0] == "cgroup" and "memory" in kind[2].split(","):
            found.append((fields[3], fields[4]))
    return found


def _read(path: str) -> bytes:
    """A file; empty where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _number(path: str) -> int | None:
    """The number in a file; None where there is none, as `max`."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else None
