"""Who is told: the rules of `--scope auto`, on a picture of the processes. It neither reads /proc nor signals."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container

    from smentry.pid1.linux import Process

_INT, _QUIT, _TERM = 1 << 1, 1 << 2, 1 << 14


def asks(process: Process, signal: int, inherited: int = 0) -> bool:
    """Whether a process asked to be told `signal`: it has a handler, or blocks it to wait for it itself.

    `inherited` is the mask of signals that were blocked before smentry started anything: to be born with a blocked
    signal is no wish. An init below smentry (tini, …) catches every signal in order to hand it on, to its own child or
    group only; it has not asked on anybody's behalf. Nor has mpirun, which would kill its ranks while they save. A shell
    blocks signals for a moment, whenever it forks; and it catches INT in every script, so that only with a trap for TERM
    as well it is taken to have one for INT.
    """
    if process.init or process.launcher:
        return False
    bit = 1 << (signal - 1)
    if process.shell and bit == _INT:
        bit = _TERM
    if process.caught & bit:
        return True
    return bool(process.blocked & ~inherited & bit) and not process.shell


class Reach:
    """Whom rule 1 came to: `asked` those who asked to be told, `silent` those who did not, `holding` those of these
    for whom a shell with a trap waits while nobody below it asked, and `blind`, whether it would have had to look at
    children which the picture does not show."""

    __slots__ = ("asked", "blind", "holding", "silent")

    def __init__(self) -> None:
        self.asked: list[Process] = []
        self.silent: list[Process] = []
        self.holding: list[Process] = []
        self.blind = False

    @property
    def everybody(self) -> list[Process]:
        """All that were reached."""
        return self.asked + self.silent


def reach(
    processes: dict[int, Process],
    main: int,
    signal: int,
    *,
    complete: bool = True,
    inherited: int = 0,
    asked: Container[tuple[int, int]] = (),
) -> Reach:
    """Rule 1: from the main process down to everyone who asked to be told `signal`, and not past them.

    `main` 0: from everything that has no parent in the picture, and past every shell. `complete` says whether `processes`
    shows everything below the main process or only itself. `asked` has the identity of those who were seen to ask before:
    their children stay left to them, even when a handler's first act is to ignore the signal from now on, and when an
    interpreter that ends has given its handlers up.

    What starts ranks for mpirun on another host is below nobody, for it makes itself a daemon: it is looked at as the main
    process is.
    """
    # /proc is not read in one moment: with pids used again, a picture may show two processes as each other's children.
    # From the main process on that is a circle only if it is its own descendant.
    children: dict[int, list[Process]] = {}
    daemons = []
    for process in processes.values():
        if process.pid != main:
            children.setdefault(process.parent, []).append(process)
            if process.launcher and process.parent not in processes:
                daemons.append(process.pid)
    found = Reach()
    waiting: dict[int, list[Process]] = {}  # shells with a trap that cannot run it yet: those they wait for
    satisfied: set[int] = set()  # shells of these with somebody below who asked
    roots = [main, *daemons] if main else [pid for pid, process in processes.items() if process.parent not in processes]
    pending = [(processes[pid], 0) for pid in roots if pid in processes]
    while pending:
        process, shell = pending.pop()
        below = children.get(process.pid, ())
        if process.identity in asked or asks(process, signal, inherited):
            found.asked.append(process)
            satisfied.add(shell)
            if not complete:
                found.blind = found.blind or process.shell
            elif process.shell:
                waiting[process.pid] = []
                pending.extend((c, process.pid) for c in below if not main or _in_foreground(process, c))
        else:
            found.silent.append(process)
            if shell:
                waiting[shell].append(process)
            found.blind = found.blind or not complete
            pending.extend((child, shell) for child in below)
    for shell, held in waiting.items():
        if shell not in satisfied:
            found.holding += held
    return found


def waiting_for_ranks(processes: dict[int, Process], had: Container[tuple[int, int]]) -> set[int]:
    """The pids of all but the ranks, where a launcher is there: when ranks have ended, on whatever host, the launcher
    ends, and then what waits for it. Told before, they would take the ranks of other hosts with them.

    torchrun has ranks of its own on each host; one without any counts only where it is, by its identity, among those that `had`
    some: now it waits for other hosts.
    """
    parents = {process.parent for process in processes.values()}
    launchers = [
        process.pid
        for process in processes.values()
        if process.launcher and (not process.init or process.pid in parents or process.identity in had)
    ]
    if not launchers:
        return set()
    others = without(processes, launchers)
    return {pid for pid, process in processes.items() if process.launcher or pid in others}


def without(processes: dict[int, Process], roots: Collection[int]) -> dict[int, Process]:
    """The picture without these processes and everything below them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    left = dict(processes)
    pending = list(roots)
    while pending:
        pid = pending.pop()
        if left.pop(pid, None) is not None:
            pending += children.get(pid, ())
    return left


def _in_foreground(shell: Process, child: Process) -> bool:
    """Whether a shell with a trap cannot run it before this child has ended.

    What a shell without job control starts with `&` has INT and QUIT ignored, and stdin from /dev/null (POSIX,
    "Asynchronous lists"). While it waits for such children only, a shell runs its trap at once and hands the signal on
    itself: a child told by both would take the second for impatience, and leave without saving.
    """
    if shell.ignored & _INT or child.caught & _QUIT:
        # Born with INT ignored, the shell hands that down to every child; and a handler of the child's own for QUIT
        # (torchrun and Java have one) hides what it was born with.
        return not child.background
    # Many shells ignore QUIT themselves, wherever they run.
    return not child.ignored & (_INT if child.shell else _QUIT)
