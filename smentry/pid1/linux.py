"""What the kernel says of processes, and the two things it is asked for by prctl(2). It knows no stop."""

from __future__ import annotations

import os
import time

from smentry.pid1 import signals

_SHELLS = frozenset(
    b"sh bash rbash bash-static dash ash zsh zsh5 zsh-static ksh ksh93 mksh lksh mksh-static yash posh".split()
)
_MKSHS = frozenset((b"mksh", b"lksh", b"mksh-static"))
_MKSH_CATCHES = sum(1 << (number - 1) for number in (1, 2, 3, 14, 15, 28))
"""What mksh catches without any trap. Dying of one of them it sends it to its whole group (`kill(0, …)`), workers of a
program that saves included; so it is never told for having these handlers."""
_BUSYBOXES = frozenset((b"busybox", b"busybox-static", b"toybox"))
_INITS = frozenset(
    b"tini tini-static docker-init dumb-init catatonit su runuser sudo script timeout sshd sshd-session".split()
)
"""Programs that only hand signals on to the child they run; some of them kill it soon after, and sshd does not even hand on."""
_TORCHRUNS = (b"torchrun\n", b"pt_elastic\n")
_TORCHRUN = b"\0torch.distributed.run\0"
"""The names of torchrun's process, by its file and by itself, and the module that it is. Told to end, it tells its ranks, kills
them TORCH_ELASTIC_SHUTDOWN_TIMEOUT later (30 s, where it does not know of that), and fails."""
_LAUNCHERS = frozenset(b"mpirun mpiexec orterun orted prte prterun prted".split())
"""Open MPI's, of versions 4 and 5: mpirun and the daemon that starts ranks for it on another host. Told to end, it kills its
ranks a second later (`odls_base_sigkill_timeout`), and mpirun those of all hosts."""
_REMOTE = ("ssh", "rsh")
"""Below it these are how it reaches other hosts, where they stay: without one of them it gives all up. ssh has a handler, too."""
_SINGLETON = b"\0--singleton-died-pipe\0"
"""An option of the orted that a program started without mpirun starts for itself in MPI_Init: it has no ranks below it."""

_TERM = 1 << (signals.TERM - 1)

_TICKS = os.sysconf("SC_CLK_TCK")

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>


class Process:
    """One process, as /proc showed it at one moment. Signal sets are masks: bit N-1 is signal N (proc(5))."""

    __slots__ = (
        "background", "blocked", "born", "caught", "group", "ignored", "init", "launcher", "name", "parent", "pid",
        "shell", "started", "state",
    )  # fmt: skip

    def __init__(
        self,
        pid: int,
        *,
        parent: int = 0,
        group: int = 0,
        started: int = 0,
        born: float = 0.0,
        state: str = "S",
        name: str = "",
        caught: int = 0,
        ignored: int = 0,
        blocked: int = 0,
        shell: bool = False,
        init: bool = False,
        launcher: bool = False,
        background: bool = False,
    ) -> None:
        self.pid = pid
        self.parent = parent
        self.group = group
        self.started = started  # clock ticks since boot: with the pid, the identity of a process
        self.born = born  # the same on time.monotonic(), seconds
        self.state = state  # one letter: R S D T t Z X (proc(5))
        self.name = name
        self.caught = caught
        self.ignored = ignored
        self.blocked = blocked
        self.shell = shell
        self.init = init
        self.launcher = launcher
        self.background = background  # looks as if its parent, a shell, had started it with `&`

    @property
    def identity(self) -> tuple[int, int]:
        """What no other process of this boot has: pids are used again, a pid with its start time is not."""
        return (self.pid, self.started)

    def __repr__(self) -> str:
        return f"{self.name} ({self.pid})"


def glance(pid: int, name: str, started: int) -> Process:
    """One process of which name and start are known: two short reads, on the way of every signal.

    What cannot be read (hidepid, proc(5)) counts as a process that handles every signal: it is told, not passed over.
    """
    process = Process(pid, started=started, name=name, caught=-1)
    _read_status(process)
    _read_program(process)
    return process


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 where that cannot be read."""
    stat = _read(f"/proc/{pid}/stat", 1024)
    return int(stat[stat.rindex(b")") + 2 :].split(b" ", 20)[19]) if b")" in stat else 0


def descendants(of: int, until: float = float("inf")) -> dict[int, Process]:
    """Every process below `of`, by pid; zombies are left out. Empty where /proc cannot be read.

    At `until` (time.monotonic(), seconds) it stops reading: where hundreds want the CPU that may take seconds.

    What came into a container by `docker exec` has no parent in there, and is not below PID 1.
    """
    offset = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    children: dict[int, list[Process]] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:
        return {}
    for entry in entries:
        if not entry.isdigit() or time.monotonic() >= until:
            continue
        stat = _read(f"/proc/{entry}/stat", 1024)
        opening, closing = stat.find(b"("), stat.rfind(b")")
        if closing < 0:
            continue  # gone since
        fields = stat[closing + 2 :].split(b" ", 20)
        ticks = int(fields[19])
        process = Process(
            int(entry),
            parent=int(fields[1]),
            group=int(fields[2]),
            started=ticks,
            born=ticks / _TICKS - offset,
            # A leader whose other threads go on is shown as a zombie (proc(5)), and is none.
            state="S" if fields[0] in b"ZX" and int(fields[17]) > 1 else fields[0].decode(),
            name=stat[opening + 1 : closing].decode("utf-8", "replace"),
            caught=-1,
        )
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    pending = [of]
    while pending:
        for process in children.pop(pending.pop(), ()):
            pending.append(process.pid)
            # Who has ended between two reads is not there: what is not known of it must not pass for a wish to be told.
            if process.state not in "ZX" and time.monotonic() < until and _read_status(process):
                _read_program(process)
                found[process.pid] = process
    for process in found.values():
        parent = found.get(process.parent)
        if parent is not None and parent.launcher and process.name in _REMOTE:
            process.launcher = True
        process.background = parent is not None and parent.shell and _has_own_null(process.pid, parent.pid)
    return found


def parents() -> dict[int, int]:
    """The parent of every process there is; empty where /proc cannot be read."""
    found: dict[int, int] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:
        return {}
    for entry in entries:
        if entry.isdigit():
            stat = _read(f"/proc/{entry}/stat", 1024)
            if b")" in stat:
                found[int(entry)] = int(stat[stat.rindex(b")") + 4 :].split(b" ", 1)[0])
    return found


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and was not reaped; False where that cannot be read."""
    stat = _read(f"/proc/{pid}/stat", 1024)
    return b")" in stat and stat[stat.rindex(b")") + 2 :][:1] in (b"Z", b"X")


def has_in_environment(pid: int, name: str, value: str) -> bool:
    """Whether a process was executed with this variable; False where that may not be read (proc(5))."""
    return f"\0{name}={value}\0".encode() in b"\0" + _read(f"/proc/{pid}/environ", 1 << 20)


def _has_own_null(pid: int, shell: int) -> bool:
    """Whether stdin is a /dev/null that the shell has not got itself: what a shell without job control gives to what
    it starts with `&` (POSIX, "Asynchronous lists")."""
    try:
        if os.readlink(f"/proc/{pid}/fd/0") != "/dev/null":
            return False
    except OSError:
        return False
    # Of two that are open the mount or the access mode differ (proc(5), fdinfo). mksh closes its own for a pipeline.
    inherited = _read(f"/proc/{shell}/fdinfo/0", 512)
    return inherited != b"" and _read(f"/proc/{pid}/fdinfo/0", 512) != inherited


def _read_status(process: Process) -> bool:
    """Read what it does with signals; False where it is not there, or not to be seen."""
    status = _read(f"/proc/{process.pid}/status", 8192)
    at = status.find(b"\nSigBlk:\t")
    if not 0 <= at < len(status) - 75:
        return bool(status)  # another kernel's, or cut behind a list of a thousand groups
    process.blocked = int(status[at + 9 : at + 25], 16)
    process.ignored = int(status[at + 34 : at + 50], 16)
    process.caught = int(status[at + 59 : at + 75], 16)
    at = status.find(b"\nState:\t")
    process.state = chr(status[at + 8])
    # Signals that sigwait(3) waits for are not blocked meanwhile, and have no handler: where it sleeps tells.
    if not process.caught & _TERM and b"sigtimedwait" in _read(f"/proc/{process.pid}/wchan", 64):
        process.blocked = -1
    return True


def _read_program(process: Process) -> None:
    """Find out whether it is a shell, an init or a launcher: by the file it runs, for a script's own name says nothing."""
    base = _file(process.pid)
    if base in _BUSYBOXES:
        words = _read(f"/proc/{process.pid}/cmdline", 4096).split(b"\0")
        process.shell = any(word.lstrip(b"-").rpartition(b"/")[2] in _SHELLS for word in words[:2])
    else:
        process.shell = base in _SHELLS
        if base in _MKSHS:
            process.caught &= ~_MKSH_CATCHES
        is_torchrun = base.startswith(b"py") and _is_torchrun(process.pid)
        process.init = base in _INITS or is_torchrun
        process.launcher = base in _LAUNCHERS or is_torchrun
        if base in _LAUNCHERS and _SINGLETON in _read(f"/proc/{process.pid}/cmdline", 4096):
            process.launcher, process.init = False, True


def _is_torchrun(pid: int) -> bool:
    """Whether a Python runs torchrun; not one that may start its ranks anew, which a stop would have it do."""
    words = _read(f"/proc/{pid}/cmdline", 4096)
    if _read(f"/proc/{pid}/comm", 32) not in _TORCHRUNS and _TORCHRUN not in words:
        return False
    _, *restarts = words.replace(b"x-r", b"x_r").split(b"--max_restarts")
    _, *usual = (b"\0" + _read(f"/proc/{pid}/environ", 1 << 20)).split(b"\0PET_MAX_RESTARTS")
    return not any(after[1:].partition(b"\0")[0].strip(b"0") for after in restarts or usual)


def _file(pid: int) -> bytes:
    """The name of the file that a process runs."""
    try:
        file = os.fsencode(os.readlink(f"/proc/{pid}/exe"))
    except OSError:  # another user's, without CAP_SYS_PTRACE (proc(5)): its argv[0] is readable by all
        file = _read(f"/proc/{pid}/cmdline", 4096).partition(b"\0")[0].lstrip(b"-")
    return file.rpartition(b"/")[2].partition(b" (deleted)")[0]


def _read(path: str, size: int) -> bytes:
    """The first `size` bytes of a file; empty where it cannot be read, or its process is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def become_subreaper() -> None:
    """Let orphans among one's descendants come here, as they come to PID 1 (prctl(2)). Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_on_parent_death(signal: int) -> None:
    """Be sent `signal` when the parent dies (prctl(2)). Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def _prctl(option: int, value: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
