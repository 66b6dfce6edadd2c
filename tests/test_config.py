from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from smentry import config
from smentry.errors import RefusedError

SAMPLES: dict[str, list[tuple[str, Any]]] = {
    "script": [("code/a.sh", "code/a.sh"), ("data/b c.py", "data/b c.py"), ("x/y/z.sh", "x/y/z.sh")],
    "train": [("python a.py", ["python", "a.py"]), ("b", ["b"]), ("sh -c 'c d'", ["sh", "-c", "c d"])],
    "serve": [("gunicorn app:api", ["gunicorn", "app:api"]), ("b", ["b"]), ("c", ["c"])],
    "stop-timeout": [("90s", 90.0), ("2m", 120.0), ("1500ms", 1.5)],
    "max-runtime": [("1h", 3600.0), ("2m", 120.0), ("3", 3.0)],
    "linger": [("0", 0.0), ("2.5s", 2.5), ("3", 3.0)],
    "scope": [("main", "main"), ("group", "group"), ("all", "all")],
    "stop-signals": [("TERM", (15,)), ("INT,USR1", (2, 10)), ("3 12", (3, 12))],
    "rewrite": [("TERM:INT", ((15, 2),)), ("1:0", ((1, 0),)), ("USR1:KILL,USR2:0", ((10, 9), (12, 0)))],
    "success": [("143", (143,)), ("0,255", (0, 255)), ("3 4", (3, 4))],
    "serve-signal": [("QUIT", 3), ("sigint", 2), ("28", 28)],
    "parent-death": [("KILL", 9), ("sigterm", 15), ("10", 10)],
    "wait-all": [("true", True), ("no", False), ("ON", True)],
    "user": [("root", "root"), ("0:0", "0:0"), ("nobody:root", "nobody:root")],
    "warn-on-reap": [("1", True), ("false", False), ("yes", True)],
    "verbose": [("1", 1), ("2", 2), ("3", 3)],
    "quiet": [("true", True), ("0", False), ("on", True)],
    "log-format": [("json", "json"), ("text", "text"), ("json", "json")],
    "hooks-dir": [("a.d", "a.d"), ("b.d", "b.d"), ("./c.d", "./c.d")],
    "hyperparameters": [("none", "none"), ("both", "both"), ("arguments", "arguments")],
    "requirements": [("ignore", "ignore"), ("install", "install"), ("ignore", "ignore")],
    "launcher": [("torchrun", "torchrun"), ("mpirun", "mpirun"), ("none", "none")],
    "launcher-processes": [("1", 1), ("8", 8), (" 64 ", 64)],
    "launcher-options": [("--tee 3", ["--tee", "3"]), ("-x A='b c'", ["-x", "A=b c"]), ("-v", ["-v"])],
    "wait-hosts": [("0", 0.0), ("30s", 30.0), ("1h", 3600.0)],
    "watch-hosts": [("0", 0.0), ("30s", 30.0), ("2m", 120.0)],
    "tap": [("off", "off"), ("auto", "auto"), ("off", "off")],
    "profile": [("ecs", "ecs"), ("kubernetes", "kubernetes"), ("batch", "batch")],
    "timeline": [("a.jsonl", "a.jsonl"), ("/b c", "/b c"), ("/c", "/c")],
    "dry-run": [("true", True), ("off", False), ("1", True)],
}
"""Three texts of each option, and their values: for the flag, the variable and the file."""

OPTIONS = [option for option in config.OPTIONS if option is not config.CONFIG]
BY_NAME = {option.name: option for option in config.OPTIONS}
NOWHERE = "/no/such/default.yaml"


def resolve(
    flags: list[config.Flag] | None = None, variables: dict[str, str] | None = None, default: str = NOWHERE
) -> config.Settings:
    return config.resolve(flags or [], variables or {}, default)


def flag(name: str, text: str | None = None) -> config.Flag:
    return config.Flag(BY_NAME[name], text, f"--{name}")


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "smentry.yaml"
    file.write_text(text)
    return str(file)


# -- every option, from everywhere -------------------------------------------------------------------


def test_every_option_has_samples() -> None:
    assert list(SAMPLES) == [option.name for option in OPTIONS]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_default_is_overridden_by_the_file_the_variable_and_the_flag(
    option: config.Option, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        (tmp_path / f"{name}.d").mkdir()
    (in_flag, by_flag), (in_variable, by_variable), (in_file, by_file) = SAMPLES[option.name]
    attribute = option.attribute
    default = resolve()
    assert default.origins[attribute] == "default"
    assert getattr(default, attribute) == option.default

    file = written(tmp_path, f'{attribute}: "{in_file}"\n')
    settings = resolve(default=file)
    assert (getattr(settings, attribute), settings.origins[attribute]) == (by_file, f"file {file}")

    variables = {option.variable: in_variable}
    settings = resolve(variables=variables, default=file)
    assert (getattr(settings, attribute), settings.origins[attribute]) == (
        by_variable,
        f"variable {option.variable}",
    )

    if option.kind == config.COUNT:
        flags, by_flag = [flag(option.name)], 1
    elif option.kind == config.FLAG:
        flags, by_flag = [flag(option.name)], True
    else:
        flags = [flag(option.name, in_flag)]
    settings = resolve(flags, variables, file)
    assert (getattr(settings, attribute), settings.origins[attribute]) == (by_flag, f"flag --{option.name}")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_empty_variable_counts_as_unset(option: config.Option) -> None:
    assert resolve(variables={option.variable: ""}).origins[option.attribute] == "default"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_in_settings_and_has_its_own_letters(option: config.Option) -> None:
    assert option.attribute in config.Settings.__annotations__
    others = [other for other in config.OPTIONS if other is not option]
    assert not any(letter in other.letters for other in others for letter in option.letters)


def test_a_wrong_variable_below_a_flag_does_not_matter_but_is_named_without_it() -> None:
    with pytest.raises(RefusedError, match="SMENTRY_LINGER: expected a time"):
        resolve(variables={"SMENTRY_LINGER": "long"})


# -- values ------------------------------------------------------------------------------------------


def test_a_shell_operator_without_a_shell_is_warned_about() -> None:
    settings = resolve([flag("train", "cd /app && python x.py")])
    assert len(settings.warnings) == 1
    assert "'&&' is a word like any other without a shell" in settings.warnings[0]
    assert resolve([flag("train", "sh -c 'cd /app && python x.py'")]).warnings == []


def test_repeated_flags_add_up_and_replace_the_variable() -> None:
    flags = [flag("success", "3"), flag("rewrite", "TERM:INT"), flag("success", "4,5")]
    settings = resolve(flags, {"SMENTRY_SUCCESS": "9", "SMENTRY_REWRITE": "HUP:0"})
    assert settings.success == (3, 4, 5)
    assert settings.rewrite == ((15, 2),)
    assert resolve([flag("scope", "main"), flag("scope", "all")]).scope == "all"


@pytest.mark.parametrize(
    ("flags", "variables", "verbosity"),
    [
        ([], {}, 0),
        (["verbose", "verbose"], {}, 2),
        (["quiet"], {}, -1),
        (["verbose"], {"SMENTRY_QUIET": "1"}, 1),
        (["quiet"], {"SMENTRY_VERBOSE": "2"}, -1),
        (["verbose"], {"SMENTRY_VERBOSE": "2"}, 1),
        ([], {"SMENTRY_VERBOSE": "2", "TINI_VERBOSITY": "0"}, 2),
        ([], {"TINI_VERBOSITY": "0"}, -1),
        ([], {"TINI_VERBOSITY": "1"}, 0),
        ([], {"TINI_VERBOSITY": "3"}, 2),
    ],
)
def test_verbosity(flags: list[str], variables: dict[str, str], verbosity: int) -> None:
    assert resolve([flag(name) for name in flags], variables).verbosity == verbosity


@pytest.mark.parametrize("value", ["", "0", "1"])
def test_tinis_variables_are_above_the_file_and_below_smentrys(value: str, tmp_path: Path) -> None:
    file = written(tmp_path, "scope: all\nverbose: 2\n")
    tini = {"TINI_KILL_PROCESS_GROUP": value, "TINI_SUBREAPER": value}
    settings = resolve(variables=tini, default=file)
    assert (settings.scope, settings.origins["scope"]) == ("group", "variable TINI_KILL_PROCESS_GROUP")
    assert resolve(variables={**tini, "SMENTRY_SCOPE": "main"}, default=file).scope == "main"
    assert resolve(variables={"TINI_VERBOSITY": "0"}, default=file).verbosity == -1


# -- variables that are no options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMENTRY_GRACE_SECONDS", "115"),
        ("SMENTRY_PYTHON", "python3"),
        ("SMENTRY_EVENT", "stopping"),
        ("SMENTRY_STOP_AT", "1"),
        ("SMENTRY_SERVICE_HOST", "10.0.0.1"),
        ("SMENTRY_SERVICE_PORT", "80"),
        ("SMENTRY_SERVICE_PORT_HTTP", "80"),
        ("SMENTRY_PORT", "tcp://10.0.0.1:80"),
        ("SMENTRY_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("SMENTRY_API_SERVICE_HOST", "10.0.0.1"),
        ("SMENTRYX", "1"),
    ],
)
def test_variables_of_others_and_of_smentrys_own_making_are_no_mistakes(name: str, value: str) -> None:
    assert resolve(variables={name: value}).warnings == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SMENTRY_STOP_TIMOUT", "did you mean SMENTRY_STOP_TIMEOUT?"),
        ("SMENTRY_PORT", "no variable"),
        ("SMENTRY_stop_timeout", ""),
    ],
)
def test_a_misspelt_variable_is_warned_about(name: str, hint: str) -> None:
    (warning,) = resolve(variables={name: "80"}).warnings
    assert warning.startswith(f"{name} is no variable of smentry")
    assert hint in warning


# -- the file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ("stop_timeout: 90", "stop_timeout", 90.0),
        ("stop_timeout: 2m", "stop_timeout", 120.0),
        ("stop_timeout: '500ms'\nlinger: 1", "linger", 1.0),
        ("success: 3", "success", (3,)),
        ("success: [3, 143]", "success", (3, 143)),
        ("success: '3,143'", "success", (3, 143)),
        ("rewrite: TERM:INT", "rewrite", ((15, 2),)),
        ("rewrite: 15:2", "rewrite", ((15, 2),)),  # 902 in YAML 1.1
        ("rewrite: [15:2, USR1:0]", "rewrite", ((15, 2), (10, 0))),
        ("rewrite:\n- TERM:INT\n- HUP:0", "rewrite", ((15, 2), (1, 0))),
        ("stop_signals: [INT]", "stop_signals", (2,)),
        ("wait_all: yes", "wait_all", True),
        ("wait_all: off", "wait_all", False),
        ("verbose: 2", "verbose", 2),
        ("verbose: true", "verbose", 1),
        ("train: python train.py --x 'a b'", "train", ["python", "train.py", "--x", "a b"]),
        ("train: [python, train.py, --epochs, 3, --rate, 0.010]", "train",
         ["python", "train.py", "--epochs", "3", "--rate", "0.010"]),
        ("train: [sh, -c, 'a && b']", "train", ["sh", "-c", "a && b"]),
        ("train: [echo, yes, '']", "train", ["echo", "yes", ""]),
        ("train: &t [a, b]\nserve: *t", "serve", ["a", "b"]),
        ("train: >\n  python\n  train.py", "train", ["python", "train.py"]),
        ("user: 1000", "user", "1000"),
        ("parent_death: 9", "parent_death", 9),
        ("", "scope", "auto"),
        ("# only a comment\n", "scope", "auto"),
        ("---\n...\n", "scope", "auto"),
        ("{}", "scope", "auto"),
        ("\ufeffscope: main", "scope", "main"),
    ],
)  # fmt: skip
def test_values_of_the_file(text: str, attribute: str, value: Any, tmp_path: Path) -> None:
    assert getattr(resolve(default=written(tmp_path, text)), attribute) == value


def test_the_default_file_is_read_where_it_exists_and_no_other_is_named(tmp_path: Path) -> None:
    default = written(tmp_path, "scope: main\n")
    other = tmp_path / "other.yaml"
    other.write_text("linger: 1s\n")
    assert resolve().scope == "auto"
    assert resolve(default=default).scope == "main"
    settings = resolve(variables={"SMENTRY_CONFIG": str(other)}, default=default)
    assert (settings.scope, settings.linger) == ("auto", 1.0)
    settings = resolve([flag("config", "/dev/null")], {"SMENTRY_CONFIG": str(other)}, default)
    assert (settings.scope, settings.linger, settings.origins["config"]) == ("auto", 10.0, "flag --config")


def test_a_fifo_for_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(RefusedError, match="is not a regular file"):
        resolve([flag("config", str(fifo))])


# -- the timeline ------------------------------------------------------------------------------------


def test_a_timeline_that_can_be_written_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").write_text("{}\n")
    for text in ("new", "old", str(tmp_path / "new"), "/dev/null"):
        assert resolve([flag("timeline", text)]).warnings == []
    assert not (tmp_path / "new").exists()


def test_a_timeline_that_could_not_be_written_now_is_a_warning(tmp_path: Path) -> None:
    end = "; no record is kept unless that changes"
    missing = str(tmp_path / "missing" / "t.jsonl")
    assert resolve([flag("timeline", missing)]).warnings == [
        f"--timeline: there is no directory {tmp_path}/missing{end}"
    ]
    variable = resolve(variables={"SMENTRY_TIMELINE": str(tmp_path)})
    assert variable.warnings == [f"SMENTRY_TIMELINE: {tmp_path} is a directory: expected a file{end}"]
    file = written(tmp_path, f"timeline: {tmp_path}/smentry.yaml/t.jsonl\n")
    assert resolve(default=file).warnings == [f"{file}: timeline: there is no directory {file}{end}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_timeline_without_permission_is_a_warning(tmp_path: Path) -> None:
    """access(2) asks for the real user: root may write everywhere."""
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        directory.chmod(0o755)
    file = tmp_path / "t.jsonl"
    file.write_text("")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(54321)
            for path in (file, tmp_path / "new"):
                os.write(writer, "".join(resolve([flag("timeline", str(path))]).warnings).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, encoding="utf-8") as said:
        first, second = said.read().splitlines()
    assert first.startswith(f"--timeline: no permission to write {file};")
    assert second.startswith(f"--timeline: no permission to write {tmp_path}/new;")
