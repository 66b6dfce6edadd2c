"""The loop: kernel → events → lifecycle → effects → kernel. What is done, the lifecycle decides; here is how."""

from __future__ import annotations

import _signal  # `signal` itself loads `enum`
import os
import time

from smentry.pid1 import lifecycle, linux, process, signals, sweep, telling
from smentry.pid1.events import (
    Begin,
    Continue,
    Exit,
    Forward,
    HookFailed,
    HookOver,
    HookStarted,
    Kill,
    KillHook,
    Look,
    Looked,
    Reaped,
    RunHook,
    Signal,
    SkipHook,
    Start,
    Started,
    StartFailed,
    StopBegins,
    Tell,
    TellHook,
    Time,
)
from smentry.pid1.state import FINISHING, HOOKS_END, NEVER, RECORDED, State, exit_code
from smentry.pid1.terminal import Terminal
from smentry.pid1.timeline import Timeline
from smentry.pid1.witness import Witness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from signal import struct_siginfo
    from typing import Any

    from smentry.pid1.events import Event
    from smentry.pid1.report import Report
    from smentry.pid1.runner import Runner
    from smentry.pid1.state import Plan
    from smentry.pid1.stderr import Log


def supervise(
    program: process.Program,
    plan: Plan,
    *,
    log: Log,
    mask: Iterable[int] = (),
    parent_death: int | None = None,
    warn_on_reap: bool = False,
    timeline: str | None = None,
    evidence: bool = False,
    tap: bool = False,
    ended: Callable[[Report], None] | None = None,
) -> Report:
    """Run `program` until it and everything it started has ended; return what was seen of that, smentry's exit code in it.

    Every signal must be blocked already; `mask` is what was blocked before, and what the program gets. `parent_death`
    is the signal to be sent when the parent dies. `timeline` is the file that the record of the run is added to. With
    `evidence` the kernel is asked what it counted, with `tap` the program's stderr is listened to: for the report alone. `ended`
    is called when the main process has ended, or cannot be started beside what runs already, with what the report says so far.
    Never raises: a defect of smentry's own ends in a stop and code 1.
    """
    supervisor = Supervisor(
        program, plan, log, mask, Timeline(log, plan, program.label, warn_on_reap=warn_on_reap, path=timeline), ended
    )
    try:
        supervisor.prepare(parent_death, evidence=evidence, tap=tap)
        code = supervisor.run()
    except BaseException as defect:  # PID 1 must not die with its children unsaved, whatever this was
        code = supervisor.last_resort(defect)
    return supervisor.report(code)


_AT_ONCE = 1000
"""So many children are reaped in one turn."""


class Supervisor:
    """One program and what comes of it, from the first process to the last."""

    def __init__(
        self,
        program: process.Program,
        plan: Plan,
        log: Log,
        mask: Iterable[int],
        timeline: Timeline,
        ended: Callable[[Report], None] | None = None,
    ) -> None:
        self._program = program
        self._plan = plan
        self._log = log
        self._mask = frozenset(mask)
        self._timeline = timeline
        self._state = State()
        self._state.signal = lifecycle.default_signal(plan)  # for the last resort; a stop by signal sets its own
        self._pid = os.getpid()
        self._ignored_children = False
        self._terminal = Terminal()
        self._suspends = False  # ^Z stopped the program, and smentry with it
        self._refused: set[int] = set()  # whom smentry may not signal
        self._timer = NEVER  # until when the timer runs
        self._runner: Runner | None = None  # where there are hooks
        self._step: Callable[..., tuple[State, list[Any]]] = lifecycle.step
        self._acts: Mapping[type, Callable[..., Any]] = _ACTS
        self._straight: dict[int, tuple[int, float]] = {}  # signal → the process it went to, and until when that holds
        self._code: int | None = None
        self._witness = Witness(plan, log, program.label, ended)

    def prepare(self, parent_death: int | None, *, evidence: bool, tap: bool) -> None:
        """Make sure that every child, orphan and signal comes here."""
        parent = os.getppid()
        self._ignored_children = signals.take_children()
        self._witness.come(evidence=evidence, tap=tap)
        if self._plan.hooks:
            from smentry.pid1.runner import Runner

            self._runner = Runner(self._log, self._program, self._mask, ignore_children=self._ignored_children)
        if self._plan.companions:
            from smentry.pid1 import turns
            from smentry.pid1.crew import Crew

            crew = Crew(
                self._program,
                self._timeline,
                self._mask,
                ignore_children=self._ignored_children,
                unwanted=self._unwanted,
                witness=self._witness,
            )
            self._step, self._acts = turns.step, {**_ACTS, **crew.acts()}
        if self._pid != 1:
            try:
                linux.become_subreaper()
            except OSError as error:
                self._log.warning("subreaper", f"not PID 1 and no subreaper: orphans are not reaped ({error.strerror})")
        if parent_death is not None:
            linux.signal_on_parent_death(parent_death)
            if os.getppid() != parent:  # it died before the kernel knew of our wish
                os.kill(self._pid, parent_death)

    def run(self) -> int:
        """The whole life: begin, then wait, decide and act until it is over."""
        self._handle(Begin())
        self._reap()  # whoever was there before smentry, for what was executed as smentry may have had children
        while self._code is None:
            if self._runner is not None and self._runner.hear():
                os.kill(self._pid, signals.IO)  # the rest in the next turn: children and deadlines come first
            info = self._next(self._state.wake)
            if info is not None:
                self._take(info)
            if time.monotonic() >= self._state.wake:
                # Under a storm of signals the wait never runs out of time: deadlines come all the same. But who has ended
                # has not missed one, and of two pending signals the timer's comes first (sigwaitinfo(2)).
                self._reap()
                if self._code is None and time.monotonic() >= self._state.wake:
                    self._handle(Time())
        if self._runner is not None:
            self._runner.close(min(time.monotonic() + 0.25, self._state.sigkill_at - self._plan.reserve * HOOKS_END))
        self._witness.drain(self._state)
        self._timeline.left(self._code, time.monotonic(), alone=not sweep.any_left())
        self._terminal.take_back(self._state.group)
        self._timeline.save(min(time.monotonic() + 1.0, self._state.sigkill_at - self._plan.reserve * RECORDED))
        return self._code

    def _next(self, wake: float) -> struct_siginfo | None:
        """Sleep until a signal comes that needs a decision, or until `wake`: None. Idle means idle: no other timer.

        A signal that came a moment ago goes the same way again, from here: to read /proc for it first takes longer than
        all the rest, and so does each line more between the wait and the kill.
        """
        every, straight, clock, kill, wait = signals.EVERY, self._straight, time.monotonic, os.kill, _signal.sigwaitinfo
        if wake != self._timer:
            # Not sigtimedwait: interrupted after its time, CPython returns whatever was on the stack for a signal.
            _signal.setitimer(_signal.ITIMER_REAL, 0 if wake == NEVER else max(1e-6, wake - clock()))
            self._timer = wake
        while True:
            info: struct_siginfo = wait(every)
            if info[0] not in straight:
                if info[0] == signals.ALRM and info.si_code > 0:  # the timer's (setitimer(2)), and nobody's else
                    self._timer = NEVER
                    return None
                return info
            pid, until = straight[info[0]]
            if clock() >= until:
                return info
            try:
                kill(pid, info[0])
            except PermissionError:  # it has become another user
                return info

    def _take(self, info: struct_siginfo) -> None:
        """A signal has come: reap, or decide what follows from it."""
        number = info.si_signo
        if number == signals.IO and (info.si_code > 0 or info.si_pid == self._pid):
            return  # a hook has written something (fcntl(2), O_ASYNC)
        if number == signals.CHLD:
            self._reap()
        elif signals.concerns_smentry_alone(info):
            self._log.debug("ignored", f"{signals.name(number)} is smentry's own affair")
        else:
            self._log.debug("signal", f"{signals.name(number)} came")
            if number == signals.CONT and self._suspends and self._state.main:
                self._resume()
            else:
                self._handle(Signal(number))

    def _handle(self, event: Event) -> None:
        """Decide what follows from an event, and do it, and what follows from that."""
        self._state, effects = self._step(self._plan, self._state, event, time.monotonic())
        while effects:
            answer = self._acts[type(effects[0])](self, effects[0])
            del effects[0]
            if answer is not None:
                self._state, more = self._step(self._plan, self._state, answer, time.monotonic())
                effects = more + effects

    def _reap(self) -> None:
        """Reap every child that has ended: one SIGCHLD may stand for thousands (signal(7))."""
        ended: list[tuple[int, int]] = []
        left = True
        while len(ended) < _AT_ONCE:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                left = False
                break
            if pid == 0:
                break
            if os.WIFSTOPPED(status):
                self._suspended(pid, os.WSTOPSIG(status))
            else:
                ended.append((pid, status))
        else:
            os.kill(self._pid, signals.CHLD)  # the rest in the next turn: deadlines come first
        if ended or not left:
            self._straight.clear()
            self._witness.reaped(ended, self._state)
            self._timeline.reaped(ended, time.monotonic())
            self._handle(Reaped(ended, left=left))

    # Effects. Each does one thing; what it returns is the event that answers it.

    def _start(self, effect: Start) -> Event:
        try:
            if self._program.settle is not None:
                self._program = self._program.settle()
            pid = process.start(
                self._program,
                mask=self._mask,
                ignore_children=self._ignored_children,
                terminal=self._terminal.ours,
                unwanted=self._unwanted,
                streams=self._witness.streams(),
            )
        except process.StartError as error:
            signal = self._unwanted()  # a stop that was requested meanwhile, and has not been taken
            self._witness.refused(str(error), self._state.reason or (signals.name(signal) if signal else ""))
            self._log.error("start", str(error), code=error.code)
            return StartFailed(error.code)
        self._witness.started(self._program.label, pid, time.monotonic())
        self._timeline.started(pid, time.monotonic())
        return Started(pid, linux.started(pid))

    def _unwanted(self) -> int:
        """The signal that makes it needless to start something, or 0."""
        overdue = time.monotonic() >= self._state.max_at
        return min(_signal.sigpending() & self._plan.stop_signals, default=signals.TERM if overdue else 0)

    def _look(self, effect: Look) -> Event:
        main = self._state.main
        if effect.deep:
            processes = linux.descendants(self._pid, self._state.end_at)
            if not effect.forward:
                self._timeline.seen(processes.values(), time.monotonic())
            return Looked(processes, complete=True, forward=effect.forward)
        glance = linux.glance(main, self._program.label, self._state.main_started)
        return Looked({main: glance}, complete=False, forward=effect.forward)

    def _tell(self, effect: Tell) -> None:
        self._send(effect)
        self._continue_stopped(effect.processes)
        self._timeline.told(effect.processes, effect.signal, effect.why, time.monotonic())

    def _forward(self, effect: Forward) -> None:
        self._send(effect)
        if effect.again:
            until = min(time.monotonic() + telling.LOOK_AGAIN, self._state.wake)
            self._straight[effect.signal] = (effect.processes[0].pid, until)
        self._timeline.forwarded(effect.processes, effect.signal, time.monotonic())

    def _send(self, effect: Tell | Forward) -> None:
        if effect.group:
            self._kill(-self._state.group, effect.signal)
            return
        for target in effect.processes:
            self._kill(target.pid, effect.signal)

    def _continue(self, effect: Continue) -> None:
        self._continue_stopped(effect.processes)
        self._timeline.continued(effect.processes, time.monotonic())

    def _continue_stopped(self, processes: Iterable[linux.Process]) -> None:
        for target in processes:
            if target.state == "T":
                self._kill(target.pid, signals.CONT)

    def _kill_off(self, effect: Kill) -> None:
        if effect.everything:
            self._kill_all()
            self._witness.killed(effect.why, self._timeline.killed_all(effect.why, time.monotonic()), self._state)
        else:
            for target in effect.processes:
                self._kill(target.pid, signals.KILL)
            self._timeline.killed(effect.processes, effect.why, time.monotonic())

    def _kill_all(self) -> None:
        # Once the main process has gone, the number of its group may be another's.
        sweep.kill(self._state.group if self._state.main else 0, self._kill)

    def _kill(self, pid: int, signal: int) -> None:
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            pass  # it ended meanwhile
        except PermissionError:
            if pid not in self._refused:
                self._refused.add(pid)
                text = f"may not send {signals.name(signal)} to process {pid}: it runs as another user"
                self._log.warning("kill", text, pid=pid, signal=signals.name(signal))

    # Hooks.

    def _run_hook(self, effect: RunHook) -> Event:
        from smentry.pid1.hooks import variables as hook_variables

        assert self._runner is not None
        state, now, clock = self._state, time.monotonic(), time.time()
        known = state.failed is not None or state.main_status is not None or state.phase == FINISHING
        variables = hook_variables(
            effect.hook,
            reason=state.reason or (effect.hook.event if effect.hook.event.startswith("SIG") else ""),
            main=state.main,
            code=exit_code(self._plan, state) if known else None,
            seconds=effect.seconds,
            stop_at=clock + state.sigkill_at - now if state.reason else None,
        )
        ended = None if state.finished_at is None else clock - (now - state.finished_at)
        try:
            pid = self._runner.start(effect.hook, variables, main=state.main, ended=ended, seconds=effect.seconds)
        except OSError as error:
            return HookFailed(effect.lane, f"cannot be started: {error.strerror}")
        self._timeline.hook_started(effect.hook, pid, effect.seconds, now)
        return HookStarted(effect.lane, pid)

    def _tell_hook(self, effect: TellHook) -> None:
        self._kill(-effect.pid, effect.signal)

    def _kill_hook(self, effect: KillHook) -> None:
        assert self._runner is not None
        self._runner.kill(effect.pid)

    def _hook_over(self, effect: HookOver) -> None:
        assert self._runner is not None
        lines = self._runner.over(effect.pid)
        text = self._timeline.hook_over(effect, time.monotonic())
        self._witness.hook_over(effect, text, lines, self._state)

    def _skip_hook(self, effect: SkipHook) -> None:
        self._timeline.hook_skipped(effect.hook, effect.why, time.monotonic())

    def _stop_begins(self, effect: StopBegins) -> None:
        self._straight.clear()  # from now on there are deadlines
        self._timeline.stop_begins(effect.reason, time.monotonic())

    def _exit(self, effect: Exit) -> None:
        self._code = effect.code

    # The terminal.

    def _suspended(self, pid: int, signal: int) -> None:
        """The main process was stopped, as by ^Z: under a shell, stop with it, so that the person gets the prompt back."""
        if pid != self._state.main:
            return
        self._timeline.suspended(signal)
        if self._terminal.has_job_control() and not self._state.reason:
            self._suspends = True
            os.kill(self._pid, signals.STOP)

    def _resume(self) -> None:
        """`fg` or `bg` after ^Z: the whole group goes on, in the foreground where the shell has put smentry there."""
        self._suspends = False
        self._terminal.hand_on(self._state.group)
        self._kill(-self._state.group, signals.CONT)

    # When smentry itself is broken.

    def last_resort(self, defect: BaseException) -> int:
        """Promise 7: say what broke, tell everybody, give them their time, kill, and leave with 1.

        It leans on nothing that may be what is broken: no lifecycle, no timeline.
        """
        state, now = self._state, time.monotonic()
        try:
            trace = defect.__traceback__  # by hand: to load `traceback` takes longer than there may be left
            while trace and trace.tb_next:
                trace = trace.tb_next
            code = trace.tb_frame.f_code if trace else None
            where = f" in {code.co_name}, {code.co_filename}:{trace.tb_lineno}" if trace and code else ""
            text = f"{type(defect).__name__}: {defect}{where}"
            self._witness.report.defect = text
            self._log.error("defect", f"smentry has a defect: {text}; stopping the program, without hooks")
        except BaseException:
            self._log.verbosity = -1
        sweep.end(self._plan, state, self._kill, now)
        sweep.quietly(lambda: self._terminal.take_back(state.group))
        sweep.quietly(lambda: self._witness.drain(state))
        return 1

    def report(self, code: int) -> Report:
        """What was seen of the run, which is over."""
        return self._witness.leave(code, self._state)


_ACTS: dict[type, Callable[..., Event | None]] = {
    Start: Supervisor._start,
    Look: Supervisor._look,
    Tell: Supervisor._tell,
    Forward: Supervisor._forward,
    Continue: Supervisor._continue,
    Kill: Supervisor._kill_off,
    RunHook: Supervisor._run_hook,
    TellHook: Supervisor._tell_hook,
    KillHook: Supervisor._kill_hook,
    HookOver: Supervisor._hook_over,
    SkipHook: Supervisor._skip_hook,
    StopBegins: Supervisor._stop_begins,
    Exit: Supervisor._exit,
}
