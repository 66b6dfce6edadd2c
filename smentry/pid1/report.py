"""What the init saw of a run: facts, for whoever explains it. It draws no conclusions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smentry.pid1.evidence import Evidence


class HookFailure:
    """A hook that failed: its `event` and `name`, what happened to it (`text`, one line: `start hook pip (17) ended with exit
    code 1 …`), the last `lines` it wrote. `status` is its wait status (waitpid(2)), None where it was killed or never ran."""

    __slots__ = ("event", "lines", "name", "required", "status", "text")

    def __init__(
        self, event: str, name: str, text: str, lines: list[str], *, required: bool, status: int | None = None
    ) -> None:
        self.event = event
        self.name = name
        self.text = text
        self.lines = lines
        self.required = required
        self.status = status


class Death:
    """A process other than the main process that died of a signal by itself, and came to smentry to be reaped. `status` is its
    wait status (waitpid(2))."""

    __slots__ = ("pid", "status")

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.status = status


class Report:
    """A run that is over. Times are seconds.

    `code` is smentry's exit code; `label` names the program, `pid` is its main process (0: it never ran). `refusal` says why
    it could not be started, empty where it could. `status` is the main process's wait status (waitpid(2)), None where it never
    ran or could not be killed; `lasted` how long it ran. `reason` is what requested a stop (`SIGTERM`, `max-runtime`; empty:
    nothing), `stopping` how long ago that was when the main process had gone (0: it had gone before), `grace` what the program
    has of a stop (Plan.grace); `sigkill_at` (time.monotonic()) when the platform's SIGKILL comes, infinite without a stop.

    `companion` says how the companion ended whose end requested a stop, in one line, empty where none did.

    `elsewhere` says in one line which other host failed first, empty where none did; `left` are other hosts whose programs had
    ended without a failure, with how.

    `killed` says why smentry killed everything, empty where it did not; `killed_main` whether the main process was still there
    then, `victims` who was there as far as that is known, the main process first, as `train.py (17)`.
    `deaths` are those who died of a signal beside the main process, by themselves: until it had gone, or a stop was requested.
    `defect` is what broke in smentry itself. `hooks` are those that failed, in the order of their ends. `tail` is the end of what
    was written to stderr, unchanged, at most 64 KB, empty without the tap; beside companions, until the main process had gone,
    as far as that was soon known. `evidence` is what the kernel counted meanwhile, None
    where nobody asked for it.
    """

    __slots__ = (
        "code", "companion", "deaths", "defect", "elsewhere", "evidence", "grace", "hooks", "killed", "killed_main", "label",
        "lasted", "left", "pid", "reason", "refusal", "sigkill_at", "status", "stopping", "tail", "victims",
    )  # fmt: skip

    def __init__(self, label: str) -> None:
        self.label = label
        self.code = 1
        self.companion = ""
        self.elsewhere = ""
        self.left: list[str] = []
        self.pid = 0
        self.refusal = ""
        self.status: int | None = None
        self.lasted = 0.0
        self.reason = ""
        self.stopping = 0.0
        self.grace = 0.0
        self.sigkill_at = float("inf")
        self.killed = ""
        self.killed_main = False
        self.victims: list[str] = []
        self.deaths: list[Death] = []
        self.defect = ""
        self.hooks: list[HookFailure] = []
        self.tail = b""
        self.evidence: Evidence | None = None
