"""Wrong hooks: one clear line each, which names the file, the line and the key's path, and nothing is started."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from container import SHELL, TOUCH, Executable
from refused import Case, refuse

if TYPE_CHECKING:
    from running import Starter


def hook(name: str, text: str, *says: str, options: tuple[str, ...] = ()) -> Case:
    """A wrong hook, the second of the file, after one in line 2."""
    return Case(
        name, [*options, *TOUCH], 2, ("bad.yaml:", *says), config=f"hooks:\n- {{on: exit, run: 'true'}}\n{text}\n"
    )


def directory(name: str, *says: str, **files: Any) -> Case:
    """Something wrong in hooks.d."""
    files = {f"hooks.d/{path}": content for path, content in files.items()}
    return Case(f"hooks.d {name}", ["--hooks-dir", "{base}/hooks.d", *TOUCH], 2, says, files=files)


RUN = Executable("#!/bin/sh\n" + SHELL)

CASES = [
    Case("hooks empty text", TOUCH, 2, (":1: hooks: expected a list of hooks, got ''",), config="hooks: ''\n"),
    Case("hooks text", TOUCH, 2, (":1: hooks: expected a list of hooks, got 'a'",), config="hooks: a\n"),
    Case("hooks mapping", TOUCH, 2, (":1: hooks: expected a list of hooks, got a mapping",),
         config="hooks: {on: exit, run: a}\n"),
    hook("text", "- exit", ":3: hooks[1]: expected a hook: a mapping with on,", "got 'exit'"),
    hook("list", "- [exit]", ":3: hooks[1]: expected a hook", "got a list"),
    hook("nothing", "-", ":3: hooks[1]: expected a hook", "got nothing"),
    hook("empty", "- {}", ":3: hooks[1]: expected on, the event, got nothing"),
    hook("without on", "- {run: a, name: b}", ":3: hooks[1]: expected on, the event, got run and name"),
    hook("misspelt key", "- on: exit\n  run: a\n  timeot: 3s",
         ":5: hooks[1]: 'timeot' is no key of a hook; did you mean timeout?"),
    hook("unknown key", "- {on: exit, frobnicate: 1}", "'frobnicate' is no key of a hook; the keys are on, run, signal,"),
    hook("key in capitals", "- {ON: exit, run: a}", "'ON' is no key of a hook"),
    hook("merge", "- {<<: {run: a}, on: exit}", "'<<' is no key of a hook"),
    hook("on twice", "- {on: exit, run: a, on: start}", ":3: hooks[1].on is there twice"),
    hook("no kind", "- {on: exit, timeout: 3s}", ":3: hooks[1]: expected one of run, signal and copy, got none of them"),
    hook("two kinds", "- {on: stopping, run: a, signal: USR1}",
         ":3: hooks[1]: expected one of run, signal and copy, got run and signal"),
    # on
    hook("event misspelt", "- run: a\n  on: stoping",
         ":4: hooks[1].on: expected an event: start, stopping,", "got 'stoping'; did you mean stopping?"),
    hook("event in capitals", "- {on: Stopping, run: a}", "did you mean stopping?"),
    hook("event is a misspelt signal", "- {on: USR3, run: a}", "hooks[1].on: expected an event", "did you mean USR"),
    hook("event nothing like", "- {on: xyzzy, run: a}", "or a signal such as USR2, got 'xyzzy'"),
    hook("event 0", "- {on: 0, run: a}", "expected an event", "'0'"),
    hook("event list", "- {on: [start, exit], run: a}", "hooks[1].on: expected an event", "got a list"),
    hook("event nothing", "- {on: , run: a}", "hooks[1].on: expected an event", "got nothing"),
    hook("event TERM", "- {on: TERM, run: a}", "hooks[1].on: SIGTERM requests a stop: expected stopping, got 'TERM'"),
    hook("event 2", "- {on: 2, run: a}", "hooks[1].on: SIGINT requests a stop: expected stopping, got '2'"),
    hook("event a stop signal by flag", "- {on: USR2, run: a}", "SIGUSR2 requests a stop: expected stopping",
         options=("--stop-signals=USR2",)),
    hook("event a stop signal later in the file", "- {on: USR1, run: a}\nstop_signals: USR1", "SIGUSR1 requests a stop"),
    hook("event KILL", "- {on: KILL, run: a}", "hooks[1].on: expected a signal that can be caught, got 'KILL'"),
    hook("event STOP", "- {on: SIGSTOP, run: a}", "expected a signal that can be caught"),
    hook("event CHLD", "- {on: CHLD, run: a}", "expected a signal other than CHLD"),
    # run
    hook("run nothing", "- {on: exit, run: }", "hooks[1].run: expected a command", "got nothing"),
    hook("run empty", "- {on: exit, run: ''}", "hooks[1].run: expected a command, got ''"),
    hook("run empty list", "- {on: exit, run: []}", "hooks[1].run: expected a command", "an empty one"),
    hook("run empty word", "- {on: exit, run: ['', a]}", "hooks[1].run: expected a command"),
    hook("run mapping", "- {on: exit, run: {a: b}}", "hooks[1].run: expected a command", "a mapping"),
    hook("run list in list", "- {on: exit, run: [a, [b]]}", "hooks[1].run[1]: expected a word, got a list"),
    hook("run quote", """- {on: exit, run: "a 'b"}""", "hooks[1].run: expected a command", "no closing quotation"),
    hook("run NUL", '- {on: exit, run: [a, "\\0"]}', "hooks[1].run[1]: expected text without NUL"),
    # signal
    hook("signal unknown", "- {on: stopping, signal: FOO}", "hooks[1].signal: 'FOO' is not a signal"),
    hook("signal 0", "- {on: stopping, signal: 0}", "hooks[1].signal: '0' is not a signal"),
    hook("signal list", "- {on: stopping, signal: [USR1]}", "hooks[1].signal: expected a signal, got a list"),
    hook("signal TERM", "- {on: stopping, signal: TERM}",
         "hooks[1].signal: expected another signal than SIGTERM", "nobody is told twice"),
    hook("signal TERM told", "- {on: stopping, signal: USR1}", "another signal than SIGUSR1", "nobody is told twice",
         options=("-rTERM:USR1",)),
    hook("signal rewritten later in the file", "- {on: stopping, signal: HUP}\nrewrite: INT:HUP", "than SIGHUP"),
    hook("signal a stop signal by flag", "- {on: USR2, signal: USR1}", "another signal than SIGUSR1",
         options=("--stop-signals=TERM,USR1",)),
    hook("signal KILL", "- {on: stopping, signal: KILL}", "hooks[1].signal: expected a signal that a program can have"),
    hook("signal STOP", "- {on: stopping, signal: 19}", "hooks[1].signal: expected a signal that a program can have"),
    hook("signal after the program", "- {on: stopped, signal: USR1}",
         "hooks[1].signal: expected with 'on: stopping' or a signal, got 'on: stopped'"),
    hook("signal before the program", "- {on: start, signal: USR1}", "got 'on: start', when the program does not run"),
    hook("wait_for with run", "- {on: exit, run: a, wait_for: /x}",
         "hooks[1].wait_for: expected beside signal only, got it beside run"),
    hook("wait_for relative", "- {on: stopping, signal: USR1, wait_for: x/*}",
         "hooks[1].wait_for: expected the absolute path", "got 'x/*'"),
    hook("wait_for home", "- {on: stopping, signal: USR1, wait_for: ~/x}", "got '~/x': ~ has no meaning here"),
    hook("wait_for variable", "- {on: stopping, signal: USR1, wait_for: $HOME/x}", "$ has no meaning here, write it out"),
    hook("wait_for empty", "- {on: stopping, signal: USR1, wait_for: ''}", "the absolute path of a file", "got ''"),
    # copy
    hook("copy text", "- {on: stopped, copy: /x}", "hooks[1].copy: expected a copy: a mapping with to", "got '/x'"),
    hook("copy without to", "- {on: stopped, copy: {from: /x}}", "hooks[1].copy: expected to, the path", "got from alone"),
    hook("copy without source", "- {on: stopped, copy: {to: /x}}", "expected one of from and newest, got none of them"),
    hook("copy two sources", "- {on: stopped, copy: {from: /x, newest: /y, to: /z}}",
         "hooks[1].copy: expected one of from and newest, got from and newest"),
    hook("copy misspelt", "- on: stopped\n  copy:\n    newst: /x\n    to: /y",
         ":5: hooks[1].copy: 'newst' is no key of a copy; did you mean newest?"),
    hook("copy from relative", "- {on: stopped, copy: {from: x, to: /y}}", "hooks[1].copy.from: expected an absolute path"),
    hook("copy to relative", "- {on: stopped, copy: {from: /x, to: y}}", "hooks[1].copy.to: expected an absolute path"),
    hook("copy newest home", "- {on: stopped, copy: {newest: ~/*, to: /y}}", "copy.newest: expected", "~ has no meaning"),
    hook("copy to root", "- {on: stopped, copy: {from: /x, to: //}}", "copy.to: expected a path below /, got '//'"),
    hook("copy to itself", "- {on: stopped, copy: {from: /x/y/, to: /x/./y}}",
         "copy.to: expected a path outside of from, '/x/y/', got '/x/./y'"),
    hook("copy into itself", "- {on: stopped, copy: {from: /x, to: /x/y}}", "copy.to: expected a path outside of from"),
    hook("copy to a match", "- {on: stopped, copy: {newest: /c/*, to: /c/latest}}",
         "copy.to: expected a path outside of what matches newest, '/c/*', got '/c/latest'"),
    hook("copy settled", "- {on: stopped, copy: {newest: /x, to: /y, settled: long}}", "copy.settled: expected a time"),
    hook("copy settled with from", "- {on: stopped, copy: {from: /x, to: /y, settled: 1s}}",
         "copy.settled: expected beside newest only, got it beside from"),
    hook("copy complete with from", "- {on: stopped, copy: {from: /x, to: /y, complete: a}}",
         "copy.complete: expected beside newest only"),
    *(
        hook(f"copy complete {name!r}", f"- {{on: stopped, copy: {{newest: /x, to: /y, complete: {name!r}}}}}",
             "copy.complete: expected the name of a file in the match", f"got {name!r}")
        for name in ("", ".", "/a", "../a", "a/../../b")
    ),
    # timeout, required, name
    hook("timeout zero", "- {on: exit, run: a, timeout: 0}", "hooks[1].timeout: expected a time above 0, got '0'"),
    hook("timeout word", "- on: exit\n  run: a\n  timeout: soon", ":5: hooks[1].timeout: expected a time such", "'soon'"),
    hook("timeout none", "- {on: start, run: a, timeout: none}", "hooks[1].timeout: expected a time such as", "'none'"),
    hook("timeout list", "- {on: exit, run: a, timeout: [1]}", "hooks[1].timeout: expected DUR, got a list"),
    hook("required elsewhere", "- {on: exit, run: a, required: true}",
         "hooks[1].required: expected with 'on: start' only, got 'on: exit'"),
    hook("required word", "- {on: start, run: a, required: maybe}", "hooks[1].required: expected true or false"),
    hook("name empty", "- {on: exit, run: a, name: ''}", "hooks[1].name: expected a name", "got ''"),
    hook("name blank", "- {on: exit, run: a, name: '  '}", "hooks[1].name: expected a name"),
    hook("name long", "- {on: exit, run: a, name: " + "x" * 61 + "}", "name: one line of 1 to 60 printable characters"),
    hook("name lines", '- {on: exit, run: a, name: "a\\nb"}', "hooks[1].name: expected a name"),
    # the budget
    hook("too long for the stop", "- {on: stopping, run: 'true', timeout: 110s}",
         "hooks take 110 s + 10 s, the kill 5 s", "the program is left -5 s", "shorten", ":3: hooks[1].timeout (110 s)"),
    # hooks.d
    directory("misspelt event", "hooks.d/stoping: expected an event", "did you mean stopping?", **{"stoping/x": RUN}),
    directory("stop signal", "hooks.d/TERM: SIGTERM requests a stop: expected stopping", **{"TERM/x": RUN}),
    directory("KILL", "hooks.d/SIGKILL: expected a signal that can be caught", **{"SIGKILL/x": RUN}),
    Case("hooks.d is a file", ["--hooks-dir={base}/file", *TOUCH], 2, ("--hooks-dir: expected a directory", "not a directory"),
         files={"file": RUN}),
    Case("hooks.d in the file", TOUCH, 2, ("bad.yaml: hooks_dir: expected a directory of hooks, got '/no/such'",),
         config="hooks_dir: /no/such\n"),
    Case("hooks.d of a training job", ["--hooks-dir=/no/such", "train"], 2, ("--hooks-dir: expected a directory",),
         files={"code/train.sh": SHELL}),
    Case("hook of a training job", ["train"], 2, ("hooks[0]: expected one of run, signal and copy",),
         files={"code/train.sh": SHELL}, config="hooks: [{on: exit}]\n"),
]  # fmt: skip


@pytest.mark.together
@pytest.mark.parametrize("case", CASES, ids=str)
def test_is_refused_in_one_line_and_nothing_is_started(case: Case, start: Starter) -> None:
    with tempfile.TemporaryDirectory() as directory:
        refuse(case, Path(directory))


def test_no_two_cases_are_the_same() -> None:
    assert len({repr(case[1:]) for case in CASES}) == len({case.name for case in CASES}) == len(CASES)
