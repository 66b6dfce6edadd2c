"""What is to be run, worked out from the command line, the settings and the container. It starts nothing."""

from __future__ import annotations

import os

from smentry import executable
from smentry.errors import NOT_FOUND, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smentry.config import Settings
    from smentry.hookfile import Configured
    from smentry.hosts.roster import Roster
    from smentry.processfile import Configured as Companion
    from smentry.sagemaker.distribution import Spread
    from smentry.sagemaker.layout import Layout
    from smentry.sagemaker.program import Found
    from smentry.sagemaker.steps import Step

VERBS = ("train", "serve")
STOP_TIMEOUTS = {"train": 120.0, "serve": 30.0}
"""Seconds from SIGTERM to SIGKILL: 120 for training and processing, 30 for hosting and batch transform."""
ELSEWHERE = 30.0
"""The same on ECS (stopTimeout), Kubernetes (terminationGracePeriodSeconds) and Batch, where nothing else is set there."""

LONGEST_RESERVE = 5.0
SHORTEST_GRACE = 1.0

_OF_A_HOOK = ("EVENT", "REASON", "PID", "EXIT_CODE", "SECONDS_LEFT", "STOP_AT", "HOOK")
"""What a hook is told in SMENTRY_ variables: where one runs smentry, that is no affair of the program below."""

_CAP_SETGID, _CAP_SETUID = 6, 7  # linux/capability.h


class Shares:
    """How a stop's time is shared out, in seconds: `stopping` hooks, program, hooks `after` it, and the kill's `reserve`."""

    __slots__ = ("after", "program", "reserve", "stopping")

    def __init__(self, program: float, reserve: float, stopping: float = 0.0, after: float = 0.0) -> None:
        self.program = program
        self.reserve = reserve
        self.stopping = stopping
        self.after = after


class Job:
    """The program and its surroundings, complete.

    `path` is the file that is executed, `argv` its words; `environment` is all of it, `added` the names
    in it that smentry set. `directory` is None where it stays, `identity` (uid, gid, groups) too.
    `found` says why it is this program (empty for a plain command). `stop_timeout` is seconds, and so are its
    shares: `stopping` (hooks), `grace` (the program's), `after` (hooks) and `reserve` (the kill's). `steps` are done before the
    program is started; `settle` finds it once they are done, where that cannot be before, and raises RefusedError.
    `companions` run beside it. Where a launcher starts the program, `spread` says how, and the words are the launcher's.
    `watch` says which other hosts are watched, where there are some.
    """

    __slots__ = (
        "added", "after", "argv", "companions", "directory", "environment", "found", "grace", "identity",
        "label", "path", "reserve", "settle", "spread", "steps", "stop_timeout", "stopping", "verb", "warnings", "watch",
    )  # fmt: skip

    def __init__(self, verb: str | None, stop_timeout: float, shares: Shares) -> None:
        self.verb = verb
        self.stop_timeout = stop_timeout
        self.stopping = shares.stopping
        self.grace = shares.program
        self.after = shares.after
        self.reserve = shares.reserve
        self.path = ""
        self.argv: list[str] = []
        self.environment: dict[str, str] = {}
        self.added: list[str] = []
        self.directory: str | None = None
        self.identity: tuple[int, int, list[int]] | None = None
        self.label = ""
        self.found = ""
        self.warnings: list[str] = []
        self.companions: list[Companion] = []
        self.steps: list[Step] = []
        self.settle: Callable[[], None] | None = None
        self.spread: Spread | None = None
        self.watch: Roster | None = None


def resolve(
    verb: str | None, words: list[str], settings: Settings, environment: Mapping[str, str], own: str = ""
) -> Job:
    """The job of `[VERB] WORD...`; `own` is the path of smentry's own script. Raises RefusedError.

    With a verb or a script the words are the program's arguments, else they are the command.
    """
    timeout = stop_timeout(verb, settings)
    job = Job(verb, timeout, budget(timeout, settings))
    job.environment = dict(environment)
    job.warnings.extend(settings.warnings)
    # A script of a channel without a verb is a training script.
    verbs = ("", verb or ("train" if settings.script is not None else ""))
    job.companions.extend([companion for companion in settings.processes if companion.verb in verbs])
    if settings.user is not None:
        _become(job, settings)
    _announce(job)
    if settings.script is not None or verb is not None:
        _find(job, words, settings, own)
    else:
        job.argv = words
        job.path = executable.lookup(words[0], job.environment)
        job.label = os.path.basename(job.path)
        if settings.origins["launcher"].startswith("flag"):
            job.warnings.append(
                f"{settings.where('launcher')} is for train and --script: {words[0]} is started by itself"
            )
    return job


def stop_timeout(verb: str | None, settings: Settings) -> float:
    """Seconds from a stop request to SIGKILL: what was set, else what the profile's platform gives this verb."""
    usual = STOP_TIMEOUTS[verb or "train"] if settings.profile == "sagemaker" else ELSEWHERE
    return settings.stop_timeout or usual


def budget(stop_timeout: float, settings: Settings) -> Shares:
    """The shares of a stop. Raises RefusedError where the program's own is too short.

    What is set aside for hooks is the sum of their timeouts; for those after the program, of which either the `stopped`,
    the `succeeded` or the `failed` run, and then those of `exit`, the most that it can be.
    """
    reserve = min(LONGEST_RESERVE, stop_timeout / 10)
    if not settings.hooks:
        grace = stop_timeout - reserve
        if grace < SHORTEST_GRACE:
            raise RefusedError(
                f"{settings.where('stop_timeout')}: a stop timeout of {stop_timeout:g} s leaves the program"
                f" {grace:g} s after {reserve:g} s for the kill: expected 1.12s or more"
            )
        return Shares(grace, reserve)
    from smentry.pid1 import hooks

    def of(event: str) -> list[Configured]:
        return [hook for hook in settings.hooks if hook.event == event]

    before = of(hooks.STOPPING)
    behind = max((of(event) for event in (hooks.STOPPED, hooks.SUCCEEDED, hooks.FAILED)), key=_seconds) + of(hooks.EXIT)
    shares = Shares(
        stop_timeout - _seconds(before) - _seconds(behind) - reserve, reserve, _seconds(before), _seconds(behind)
    )
    if shares.program < SHORTEST_GRACE:
        longest = sorted(before + behind, key=lambda hook: -hook.timeout)[:3]
        named = ", ".join([f"{hook.where}{'.timeout' if hook.key else ''} ({hook.timeout:g} s)" for hook in longest])
        raise RefusedError(
            f"{settings.where('stop_timeout')}: hooks take {shares.stopping:g} s + {shares.after:g} s,"
            f" the kill {reserve:g} s: of a stop timeout of {stop_timeout:g} s the program is left {shares.program:g} s,"
            f" expected 1 s or more: {f'shorten {named} or ' if named else ''}raise stop_timeout"
        )
    return shares


def _seconds(hooks: list[Configured]) -> float:
    return sum([hook.timeout for hook in hooks], 0.0)


def _find(job: Job, words: list[str], settings: Settings, own: str) -> None:
    from smentry.sagemaker import layout, program

    tree = layout.Layout.of(job.environment)
    bare = job.environment

    def find() -> Found:
        if settings.script is not None:
            return program.script(settings.script, tree, job.environment)
        assert job.verb is not None
        found = program.find(
            job.verb, tree, job.environment,
            command=settings.train if job.verb == "train" else settings.serve,
            command_from=settings.origins[job.verb],
            own=own,
        )  # fmt: skip
        if found.kind == program.SDK and settings.launcher not in ("auto", "none"):
            from smentry.sagemaker import distribution

            return distribution.entry(tree, job.environment, settings.where("launcher"))
        return found

    def take(found: Found, *, is_there: bool = True) -> None:
        _equip(job, found, words, bare, settings, tree)
        _take(job, found)
        if job.verb != "serve" and (settings.launcher != "auto" or found.kind == program.TOOLKIT):
            from smentry import launching

            launching.launch(job, found, settings, tree, is_there=is_there)

    found = None
    to_search = job.verb == "train" and settings.script is None and settings.train is None
    try:
        if to_search and os.path.lexists(tree.unfinished):
            raise RefusedError(f"{tree.code} holds code that was fetched by half: empty it", NOT_FOUND)
        found = find()
    except RefusedError as refused:
        if not to_search:
            raise
        take(_fetch(job, tree, refused), is_there=False)
        job.settle = lambda: take(find())
    if found is not None:
        take(found)
        if found.kind == program.TOOLKIT:
            from smentry.sagemaker import code

            job.found += code.left_alone(tree, bare)
    if settings.requirements == "install" and (found is None or found.has_requirements):
        from smentry.sagemaker import code

        job.steps.append(code.installing(find, found, bare))
    if job.verb != "serve" and (settings.wait_hosts or settings.watch_hosts):
        _see_others(job, tree, settings)


def _take(job: Job, found: Found) -> None:
    """The job runs what was found."""
    job.path = found.path
    job.directory = found.directory
    job.label = found.label
    job.found = found.why
    if os.path.basename(found.path) == job.verb:
        job.environment["SMENTRY_PROGRAM"] = found.path
        job.added.append("SMENTRY_PROGRAM")
    job.warnings.extend(found.warnings)


# -- what has to be done before --------------------------------------------------------------------


def _fetch(job: Job, tree: Layout, refused: RefusedError) -> Found:
    """What stands for a program whose code has still to be fetched; where there is no code to fetch, it is refused."""
    from smentry.sagemaker import code, program

    if refused.code != NOT_FOUND:
        raise refused
    if code.is_there(tree):
        raise _with(refused, code.left_alone(tree, job.environment))
    source = code.submitted(tree, job.environment)
    if source is None:
        raise refused
    job.steps.append(code.fetching(source, tree, job.identity[:2] if job.identity else None))
    return program.to_come(tree, job.environment, source.text)


def _with(refused: RefusedError, more: str) -> RefusedError:
    """What was refused, with the end of its sentence, or as the last of its details."""
    if refused.details and more:
        return RefusedError(refused.message, refused.code, (*refused.details, more.lstrip("; ")))
    return RefusedError(refused.message + more, refused.code, refused.details)


def _see_others(job: Job, tree: Layout, settings: Settings) -> None:
    """Where the job has other hosts: wait until they have an address, and watch them."""
    if job.environment.get("SM_STUDIO_LOCAL_MODE", "").lower() == "true" or not os.path.exists(tree.resources):
        return
    from smentry.sagemaker import inputs

    resources = inputs.resources(tree)
    if len(resources.hosts) < 2:
        return
    if settings.wait_hosts:
        from smentry.sagemaker import code

        job.steps.append(code.waiting(resources.hosts, settings.wait_hosts))
    if settings.watch_hosts:
        from smentry.hosts.roster import Roster

        own, name = resources.current_host, job.environment.get("TRAINING_JOB_NAME", "")
        job.watch = Roster(own, [host for host in resources.hosts if host != own], settings.watch_hosts, name)


def _equip(job: Job, found: Found, words: list[str], bare: Mapping[str, str], settings: Settings, tree: Layout) -> None:
    """Give the job the words, and to the `bare` environment the variables, that go with this program."""
    from smentry.sagemaker import equipment

    # A script of a channel without a verb is a training script: only a training job has channels.
    gear = equipment.equip(job.verb or "train", found, words, bare, tree, settings.hyperparameters)
    job.argv = gear.argv
    job.environment = gear.environment
    job.added.extend([name for name in gear.added if name not in job.added])
    job.warnings.extend([line for line in gear.warnings if line not in job.warnings])


def _announce(job: Job) -> None:
    """Tell the program how long it has, and nothing that would start it again.

    torchrun is told in whole seconds; otherwise it would give its workers 30.
    """
    # A script that itself calls smentry would be started by it again, and so on for ever; nor are the hooks and the record
    # of this smentry also those of one below it.
    for name in ("SCRIPT", "HOOKS_DIR", "TIMELINE", *_OF_A_HOOK):
        job.environment.pop(f"SMENTRY_{name}", None)
    # smentry's own variable is what flag or file made of it, in seconds; the others are kept where set.
    for name, value in (
        ("SMENTRY_STOP_TIMEOUT", f"{job.stop_timeout:g}"),
        ("SMENTRY_GRACE_SECONDS", f"{job.grace:g}"),
        ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(int(job.grace))),
    ):
        if name == "SMENTRY_STOP_TIMEOUT" or name not in job.environment:
            job.environment[name] = value
            job.added.append(name)


# -- the user --------------------------------------------------------------------------------------


def _become(job: Job, settings: Settings) -> None:
    """Resolve `--user` as gosu does: names or numbers, HOME of passwd, groups of the group file."""
    import grp
    import pwd

    where = settings.where("user")
    name, _, group = (settings.user or "").partition(":")
    entry = None
    try:
        entry = pwd.getpwuid(_number(name)) if name.isdigit() else pwd.getpwnam(name)
    except (KeyError, ValueError, OverflowError):
        if not name.isdigit():
            raise RefusedError(f"{where}: no user {name!r} in /etc/passwd: expected USER or USER:GROUP") from None
    uid = entry.pw_uid if entry else _id(name, where)
    gid = entry.pw_gid if entry else uid
    if group:
        try:
            gid = _id(group, where) if group.isdigit() else grp.getgrnam(group).gr_gid
        except (KeyError, ValueError):
            raise RefusedError(f"{where}: no group {group!r} in /etc/group: expected USER or USER:GROUP") from None
        groups = [gid]
    elif entry:
        groups = sorted(set(os.getgrouplist(entry.pw_name, gid)))
    else:
        groups = [gid]
        job.warnings.append(f"{where}: uid {uid} is not in /etc/passwd: it gets gid {gid} and no other group")
    is_already = (uid, gid) == (os.geteuid(), os.getegid())
    if not is_already or (uid == 0 and {gid, *groups} != {gid, *os.getgroups()}):
        _check_may_become(uid, gid, where)
        job.identity = (uid, gid, groups)
    if entry:
        for variable, value in (("HOME", entry.pw_dir), ("USER", entry.pw_name), ("LOGNAME", entry.pw_name)):
            job.environment[variable] = value
            job.added.append(variable)


def _number(text: str) -> int:
    return int(text) if text.isascii() and len(text) <= 10 else -1


def _id(text: str, where: str) -> int:
    value = _number(text)
    if not 0 <= value < 2**32 - 1:  # (uid_t)-1 means "unchanged" to setresuid(2)
        raise RefusedError(f"{where}: expected a number from 0 to {2**32 - 2}, got {text!r}")
    return value


def _check_may_become(uid: int, gid: int, where: str) -> None:
    """Refuse what setuid(2) would: without its capability, root in a container cannot do it either."""
    capabilities = -1
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    capabilities = int(line.split()[1], 16)
    except OSError:
        return  # without /proc the kernel will say it
    for bit, capability in ((_CAP_SETUID, "CAP_SETUID"), (_CAP_SETGID, "CAP_SETGID")):
        if not capabilities >> bit & 1:
            raise RefusedError(
                f"{where}: uid {os.geteuid()} cannot become {uid}:{gid} without {capability}: start smentry"
                " as root with that capability, or leave the option out"
            )
