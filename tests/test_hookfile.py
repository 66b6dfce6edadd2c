from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import pytest

from smentry import config
from smentry.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from smentry.hookfile import Configured

BY_NAME = {option.name: option for option in config.OPTIONS}
PATH = {"PATH": "/usr/bin:/bin"}
SCRIPT = "#!/bin/sh\n"


def settings(tmp_path: Path, text: str, **texts: str) -> config.Settings:
    file = tmp_path / "smentry.yaml"
    file.write_text(text)
    flags = [
        config.Flag(BY_NAME[name.replace("_", "-")], value, f"--{name.replace('_', '-')}")
        for name, value in texts.items()
    ]
    return config.resolve(flags, PATH, str(file))


def one(tmp_path: Path, text: str, **texts: str) -> Configured:
    (hook,) = settings(tmp_path, f"hooks:\n- {text}\n", **texts).hooks
    return hook


def put(path: Path, text: str = SCRIPT, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# -- one hook ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{on: exit, run: \"sh -c 'a  b'\"}", {"event": "exit", "run": ["sh", "-c", "a  b"], "name": "sh"}),
        ("{on: exit, run: [/bin/sh, -c, 'a b', '']}", {"run": ["/bin/sh", "-c", "a b", ""], "name": "sh"}),
        ("{on: exit, run: [echo, yes, 0.010]}", {"run": ["echo", "yes", "0.010"], "name": "echo"}),
        ("{on: exit, run: 'true'}", {"timeout": 10, "required": False, "signal": 0, "copy": None, "wait_for": ""}),
        ("{on: exit, run: 'true', timeout: 1m, name: a report}", {"timeout": 60, "name": "a report"}),
        ("{on: start, run: 'true'}", {"timeout": math.inf, "required": True}),
        ("{on: start, run: 'true', required: no, timeout: 500ms}", {"timeout": 0.5, "required": False}),
        ("{on: USR2, run: 'true'}", {"event": "SIGUSR2", "timeout": 10, "required": False}),
        ("{on: 12, run: 'true'}", {"event": "SIGUSR2"}),
        ("{on: sigrtmin+3, run: 'true'}", {"event": "SIGRTMIN+3"}),
        ("{on: stopping, signal: USR1}", {"signal": 10, "name": "signal", "run": [], "wait_for": ""}),
        ("{on: USR1, signal: 10, wait_for: /a/*.done}", {"event": "SIGUSR1", "signal": 10, "wait_for": "/a/*.done"}),
        ("{on: exit, run: 'true', name: " + "x" * 60 + "}", {"name": "x" * 60}),
    ],
)
def test_a_hook_of_the_file(text: str, expected: dict[str, Any], tmp_path: Path) -> None:
    hook = one(tmp_path, text)
    assert {name: getattr(hook, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{from: /a, to: /b}", {"source": "/a", "newest": "", "to": "/b", "settled": 1, "complete": ""}),
        ("{newest: /c/*, to: /b}", {"source": "", "newest": "/c/*", "to": "/b", "settled": 1, "complete": ""}),
        ("{newest: /c/*, to: /b, complete: a/done}", {"settled": 0, "complete": "a/done"}),
        ("{newest: /c/*, to: /b, settled: 3s, complete: done}", {"settled": 3, "complete": "done"}),
        ("{from: /b/best/a.pt, to: /b}", {"source": "/b/best/a.pt", "to": "/b"}),
        ("{newest: '/ml/*/a-*', to: /ml/model}", {"newest": "/ml/*/a-*", "to": "/ml/model"}),
        ("{newest: '/c/*', to: /c/.latest}", {"to": "/c/.latest"}),
        ("{from: /ab, to: /a}", {"source": "/ab", "to": "/a"}),
        ("{from: /a, to: /ab}", {"source": "/a", "to": "/ab"}),
    ],
)
def test_a_copy(text: str, expected: dict[str, Any], tmp_path: Path) -> None:
    hook = one(tmp_path, f"{{on: stopped, copy: {text}}}")
    assert (hook.name, hook.run, hook.signal) == ("copy", [], 0)
    assert {name: getattr(hook.copy, name) for name in expected} == expected


def test_a_name_that_was_not_chosen_is_one_printable_line(tmp_path: Path) -> None:
    hook = one(tmp_path, f'{{on: exit, run: ["/x/a\\nb\\e{"c" * 99}"]}}')
    assert hook.name == "a?b?" + "c" * 56


def test_hooks_are_in_the_order_of_the_file_and_know_their_places(tmp_path: Path) -> None:
    text = "linger: 1s\nhooks:\n- {on: exit, run: 'true', name: a}\n-\n  on: start\n  run: 'true'\n  name: b\n"
    first, second = settings(tmp_path, text).hooks
    file = tmp_path / "smentry.yaml"
    assert (first.name, first.key, first.place) == ("a", "hooks[0]", f"{file}:3")
    assert (second.name, second.key, second.place) == ("b", "hooks[1]", f"{file}:5")
    assert second.where == f"{file}:5: hooks[1]"


def test_an_empty_list_is_no_hooks(tmp_path: Path) -> None:
    assert settings(tmp_path, "hooks: []\n").hooks == ()
    assert settings(tmp_path, "hooks:\n#  - {on: exit, run: 'true'}\nscope: main\n").hooks == ()
    assert settings(tmp_path, "scope: main\n").hooks == ()


def test_a_hook_may_be_an_alias(tmp_path: Path) -> None:
    first, second = settings(tmp_path, "hooks:\n- &a {on: exit, run: &r [sh, -c, x]}\n- {on: start, run: *r}\n").hooks
    assert first.run == second.run == ["sh", "-c", "x"]
    assert len(settings(tmp_path, "hooks:\n- &a {on: exit, run: 'true'}\n- *a\n").hooks) == 2


def test_which_signals_a_stop_tells_is_known_when_all_has_been_read(tmp_path: Path) -> None:
    text = "hooks:\n- {on: stopping, signal: INT}\nstop_signals: TERM\n"
    assert settings(tmp_path, text).hooks[0].signal == 2
    assert settings(tmp_path, text, rewrite="HUP:INT").hooks[0].signal == 2
    with pytest.raises(RefusedError, match="nobody is told twice"):
        settings(tmp_path, text, rewrite="TERM:INT")
    with pytest.raises(RefusedError, match="nobody is told twice"):
        settings(tmp_path, text, stop_signals="INT")


# -- warnings ----------------------------------------------------------------------------------------


def test_a_command_that_is_not_there_yet_is_warned_about(tmp_path: Path) -> None:
    found = settings(tmp_path, "hooks:\n- {on: exit, run: no-such-command x}\n- {on: exit, run: /etc/passwd}\n")
    file = tmp_path / "smentry.yaml"
    assert found.warnings == [
        f"{file}:2: hooks[0].run: no-such-command: not found on PATH (/usr/bin:/bin); the hook fails unless that changes",
        f"{file}:3: hooks[1].run: /etc/passwd: has no executable bit: chmod +x it, or name its interpreter (sh, python3)"
        " before it; the hook fails unless that changes",
    ]


def test_a_shell_operator_without_a_shell_is_warned_about(tmp_path: Path) -> None:
    (warning,) = settings(tmp_path, "hooks:\n- {on: exit, run: echo a > b}\n").warnings
    assert "hooks[0].run: '>' is a word like any other without a shell" in warning


@pytest.mark.parametrize(("rewrite", "warned"), [("USR2:HUP", True), ("USR2:0", True), ("HUP:USR2", False)])
def test_a_rewrite_of_a_signal_that_a_hook_takes_is_warned_about(rewrite: str, warned: bool, tmp_path: Path) -> None:
    warnings = settings(tmp_path, "hooks:\n- {on: USR2, run: 'true'}\n", rewrite=rewrite).warnings
    assert [warning.partition(" has no effect")[0] for warning in warnings] == (
        [f"--rewrite: SIG{rewrite.replace(':H', ':SIGH')}"] if warned else []
    )


# -- hooks.d -----------------------------------------------------------------------------------------


def test_executables_are_hooks_of_their_directorys_event_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.d"
    names = ["10-a", "9-b", "B", "a", "ä", "😀", os.fsdecode(b"\xff")]
    for name in reversed(names):
        put(hooks / "stopping" / name)
    put(hooks / "start" / "s")
    put(hooks / "USR2" / "u")
    found = settings(tmp_path, "hooks:\n- {on: stopping, run: 'true', name: first}\n", hooks_dir=str(hooks))
    assert [hook.name for hook in found.hooks if hook.event == "stopping"] == ["first", *names[:-1], "?"]
    (start,) = [hook for hook in found.hooks if hook.event == "start"]
    assert (start.timeout, start.required, start.run) == (math.inf, True, [str(hooks / "start/s")])
    assert (start.place, start.key, start.where) == (str(hooks / "start/s"), "", str(hooks / "start/s"))
    (of_signal,) = [hook for hook in found.hooks if hook.event == "SIGUSR2"]
    assert (of_signal.timeout, of_signal.required) == (10, False)
    assert found.warnings == []


def test_a_relative_directory_is_from_where_smentry_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "hooks.d/exit/x")
    monkeypatch.chdir(tmp_path)
    (hook,) = settings(tmp_path, "hooks_dir: hooks.d\n").hooks
    assert hook.run == [str(tmp_path / "hooks.d/exit/x")]


def test_the_default_directory_is_read_where_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BY_NAME["hooks-dir"], "default", str(tmp_path / "hooks.d"))  # /etc is not the test's own
    assert settings(tmp_path, "").hooks == ()
    assert [hook.name for hook in settings(tmp_path, "hooks: [{on: exit, run: 'true'}]").hooks] == ["true"]
    put(tmp_path / "hooks.d/exit/x")
    assert [hook.name for hook in settings(tmp_path, "").hooks] == ["x"]


def test_what_is_hidden_or_a_backup_is_passed_over_without_a_word(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.d"
    for path in ("exit/.x", "exit/x~", ".git/x", "old~/x"):
        put(hooks / path)
    put(hooks / "README", "read me", 0o644)
    (hooks / "start").mkdir()
    found = settings(tmp_path, "", hooks_dir=str(hooks))
    assert (found.hooks, found.warnings) == ((), [])


def test_what_cannot_be_a_hook_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.d"
    put(hooks / "exit/1-plain", mode=0o644)
    (hooks / "exit/2-directory").mkdir()
    os.mkfifo(hooks / "exit/3-fifo")
    put(hooks / "exit/4-empty", "")
    (hooks / "exit/5-link").symlink_to("gone")
    put(hooks / "exit/6-good")
    put(hooks / "astray")
    found = settings(tmp_path, "", hooks_dir=str(hooks))
    assert [hook.name for hook in found.hooks] == ["6-good"]
    assert found.warnings == [
        f"{hooks}/astray is passed over: expected it in the directory of its event, such as stopping/",
        f"{hooks}/exit/1-plain: has no executable bit, and is passed over: chmod +x makes a hook of it",
        f"{hooks}/exit/2-directory: is a directory: expected a file to run; passed over",
        f"{hooks}/exit/3-fifo: is a FIFO: expected a regular file to run; passed over",
        f"{hooks}/exit/4-empty: is empty: expected a program or a script (was it uploaded whole?); passed over",
        f"{hooks}/exit/5-link: is a link to gone, which is not there; passed over",
    ]


def test_a_link_to_an_executable_is_a_hook_under_its_own_name(tmp_path: Path) -> None:
    put(tmp_path / "hooks.d/..data/x")
    (tmp_path / "hooks.d/exit").mkdir()
    (tmp_path / "hooks.d/exit/y").symlink_to("../..data/x")
    (hook,) = settings(tmp_path, "", hooks_dir=str(tmp_path / "hooks.d")).hooks
    assert (hook.name, hook.run) == ("y", [str(tmp_path / "hooks.d/exit/y")])


def test_an_executable_without_its_interpreter_stays_and_is_warned_about(tmp_path: Path) -> None:
    path = put(tmp_path / "hooks.d/exit/x", "#!/no/such/sh\n")
    found = settings(tmp_path, "", hooks_dir=str(tmp_path / "hooks.d"))
    assert [hook.name for hook in found.hooks] == ["x"]
    (warning,) = found.warnings
    assert warning.startswith(f"{path}: its interpreter is missing: #!/no/such/sh")
    assert warning.endswith("the hook fails unless that changes")
