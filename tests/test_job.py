from __future__ import annotations

import grp
import os
import pwd
import shutil
from typing import TYPE_CHECKING

import pytest
from container import Executable, Tree

from smentry import config, job
from smentry.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

BY_NAME = {option.name: option for option in config.OPTIONS}
PATH = {"PATH": "/usr/bin:/bin"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def settings(**texts: str) -> config.Settings:
    flags = [
        config.Flag(BY_NAME[name.replace("_", "-")], text, f"--{name.replace('_', '-')}")
        for name, text in texts.items()
    ]
    return config.resolve(flags, {}, "/no/such/default.yaml")


def resolve(*words: str, verb: str | None = None, environment: dict[str, str] | None = None, **texts: str) -> job.Job:
    return job.resolve(verb, [*words], settings(**texts), environment or PATH)


# -- the command and its surroundings ----------------------------------------------------------------


def test_a_command_keeps_its_words_and_its_directory() -> None:
    found = resolve("true", "a b", "--train")
    assert found.argv == ["true", "a b", "--train"]
    assert found.path in ("/usr/bin/true", "/bin/true")
    assert (found.directory, found.identity, found.label, found.found) == (None, None, "true", "")


def test_path_is_searched_in_order_and_what_cannot_be_executed_is_passed_over(tree: Tree) -> None:
    tree.put("a/x", "#!/bin/sh\n")
    tree.put("b/x", Executable("#!/bin/sh\n"))
    tree.put("c/x", Executable("#!/bin/sh\n"))
    path = ":".join(str(tree.base / name) for name in ("missing", "a", "b", "c"))
    assert resolve("x", environment={"PATH": path}).path == str(tree.base / "b/x")
    with pytest.raises(RefusedError, match="has no executable bit") as refused:
        resolve("x", environment={"PATH": str(tree.base / "a")})
    assert refused.value.code == 126


def test_an_empty_element_of_path_is_the_working_directory(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.put("x", Executable("#!/bin/sh\n"))
    monkeypatch.chdir(tree.base)
    assert resolve("x", environment={"PATH": ""}).path == "x"


def test_the_command_of_a_verb_gets_the_arguments_after_its_own(tree: Tree) -> None:
    environment = {**PATH, "SAGEMAKER_BASE_DIR": str(tree.base)}
    found = resolve("a", "b c", verb="train", environment=environment, train="echo 'x y'", serve="false")
    assert found.argv == ["echo", "x y", "a", "b c"]
    assert found.directory is None
    assert found.found == "flag --train"
    assert resolve(verb="serve", environment=environment, train="false", serve="echo s").argv == ["echo", "s"]


# -- times -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "given", "stop_timeout", "grace"),
    [
        (None, None, 120, 115),
        ("train", None, 120, 115),
        ("serve", None, 30, 27),
        ("serve", "120s", 120, 115),
        (None, "50s", 50, 45),
        (None, "10s", 10, 9),
        (None, "1200ms", 1.2, 1.08),
        (None, "1h", 3600, 3595),
    ],
)
def test_the_programs_share_of_a_stop(verb: str | None, given: str | None, stop_timeout: float, grace: float) -> None:
    texts = {"train": "true", "serve": "true", **({"stop_timeout": given} if given else {})}
    found = resolve(*([] if verb else ["true"]), verb=verb, **texts)
    assert found.stop_timeout == pytest.approx(stop_timeout)
    assert found.grace == pytest.approx(grace)


@pytest.mark.parametrize(
    ("profile", "verb", "stop_timeout"),
    [
        ("sagemaker", "train", 120),
        ("sagemaker", "serve", 30),
        ("sagemaker", None, 120),
        *[(profile, verb, 30) for profile in ("ecs", "kubernetes", "batch") for verb in ("train", "serve", None)],
    ],
)
def test_a_profile_has_the_stop_timeout_of_its_platform(profile: str, verb: str | None, stop_timeout: int) -> None:
    found = resolve(*([] if verb else ["true"]), verb=verb, train="true", serve="true", profile=profile)
    assert (found.stop_timeout, found.grace) == (stop_timeout, {120: 115, 30: 27}[stop_timeout])
    assert found.environment["SMENTRY_STOP_TIMEOUT"] == str(stop_timeout)


@pytest.mark.parametrize("where", ["flag", "variable", "file"])
def test_a_stop_timeout_that_was_set_wins_over_the_profile(where: str, tmp_path: Path) -> None:
    file = tmp_path / "smentry.yaml"
    file.write_text("stop_timeout: 80s\nprofile: ecs\n" if where == "file" else "profile: ecs\n")
    flags = [config.Flag(BY_NAME["config"], str(file), "--config")]
    if where == "flag":
        flags.append(config.Flag(BY_NAME["stop-timeout"], "80s", "--stop-timeout"))
    variables = {"SMENTRY_STOP_TIMEOUT": "80s"} if where == "variable" else {}
    found = job.resolve(None, ["true"], config.resolve(flags, variables, "/no/such.yaml"), PATH)
    assert found.stop_timeout == 80


def test_a_profile_that_no_platform_has_is_refused() -> None:
    with pytest.raises(RefusedError, match="--profile: expected sagemaker, ecs, kubernetes or batch, got 'lambda'"):
        settings(profile="lambda")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("120", ("120", "115", "115")), ("25s", ("25", "22.5", "22")), ("1500ms", ("1.5", "1.35", "1"))],
)
def test_the_program_is_told_how_long_it_has(given: str, expected: tuple[str, ...]) -> None:
    found = resolve("true", stop_timeout=given)
    names = ("SMENTRY_STOP_TIMEOUT", "SMENTRY_GRACE_SECONDS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT")
    assert tuple(found.environment[name] for name in names) == expected
    assert found.added == list(names)


def configured(tmp_path: Path, text: str, verb: str | None = None, **texts: str) -> job.Job:
    file = tmp_path / "smentry.yaml"
    file.write_text(text)
    return resolve(*([] if verb else ["true"]), verb=verb, config=str(file), **texts)


def test_a_stop_without_hooks_has_no_time_for_them() -> None:
    found = resolve("true")
    assert (found.stopping, found.grace, found.after, found.reserve) == (0, 115, 0, 5)


@pytest.mark.parametrize(("stopped", "after"), [(4, 6.5), (6, 7.5)])
def test_the_time_of_hooks_is_set_aside(stopped: int, after: float, tmp_path: Path) -> None:
    found = configured(
        tmp_path,
        f"""\
hooks:
- {{on: start, run: "true"}}
- {{on: stopping, run: "true", timeout: 7s}}
- {{on: stopped, run: "true", timeout: {stopped}s}}
- {{on: stopping, run: "true"}}
- {{on: USR2, run: "true", timeout: 99s}}
- {{on: failed, run: "true", timeout: 2s}}
- {{on: succeeded, run: "true", timeout: 1s}}
- {{on: failed, run: "true", timeout: 3s}}
- {{on: exit, run: "true", timeout: 1500ms}}
""",
    )
    assert (found.stopping, found.grace, found.after, found.reserve) == (17, 98 - after, after, 5)
    assert found.environment["SMENTRY_GRACE_SECONDS"] == f"{98 - after:g}"
    assert found.environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == str(int(98 - after))


def test_hooks_may_leave_the_program_a_second_and_no_less(tmp_path: Path) -> None:
    text = "hooks:\n- {{on: stopping, run: 'true', timeout: {}s}}\n- {{on: exit, run: 'true', timeout: 30s}}\n"
    assert configured(tmp_path, text.format(84)).grace == 1
    with pytest.raises(RefusedError) as refused:
        configured(tmp_path, text.format(90))
    file = tmp_path / "smentry.yaml"
    assert refused.value.message == (
        "stop_timeout: hooks take 90 s + 30 s, the kill 5 s: of a stop timeout of 120 s the program is left -5 s,"
        f" expected 1 s or more: shorten {file}:2: hooks[0].timeout (90 s), {file}:3: hooks[1].timeout (30 s)"
        " or raise stop_timeout"
    )
    assert configured(tmp_path, text.format(90), stop_timeout="126").grace == 1
    with pytest.raises(RefusedError, match="of a stop timeout of 30 s"):
        configured(tmp_path, text.format(20), verb="serve", serve="true")


def test_hooks_that_take_no_part_in_a_stop_do_not_count(tmp_path: Path) -> None:
    text = "hooks:\n- {on: USR2, run: 'true', timeout: 1h}\n- {on: start, run: 'true', timeout: 1h}\n"
    assert configured(tmp_path, text).grace == 115
    with pytest.raises(RefusedError, match=r"is left 0\.9 s, expected 1 s or more: raise stop_timeout"):
        configured(tmp_path, text, stop_timeout="1s")


def test_what_is_set_is_kept_but_the_stop_timeout_is_the_one_that_holds() -> None:
    variables = {
        "SMENTRY_STOP_TIMEOUT": "2m",
        "SMENTRY_GRACE_SECONDS": "7",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "8",
    }
    found = resolve("true", environment={**PATH, **variables}, stop_timeout="90")
    assert found.environment == {
        **PATH,
        "SMENTRY_STOP_TIMEOUT": "90",
        "SMENTRY_GRACE_SECONDS": "7",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "8",
    }
    assert found.added == ["SMENTRY_STOP_TIMEOUT"]


def test_what_a_hook_is_told_is_not_passed_on_by_a_smentry_that_it_runs() -> None:
    names = ("EVENT", "REASON", "PID", "EXIT_CODE", "SECONDS_LEFT", "STOP_AT", "HOOK")
    outer = {f"SMENTRY_{name}": "1" for name in names}
    settings = config.resolve([], outer, "/no/such/default.yaml")
    assert settings.warnings == []
    found = job.resolve(None, ["true"], settings, {**PATH, **outer})
    assert set(found.environment) == {*PATH, *found.added}


# -- the user ----------------------------------------------------------------------------------------


def another() -> pwd.struct_passwd:
    """A user that is not the one of the test."""
    return next(entry for entry in pwd.getpwall() if entry.pw_uid not in (0, os.geteuid()))


@as_root
def test_a_user_by_name_has_its_groups_and_its_home() -> None:
    entry = another()
    found = resolve("true", user=entry.pw_name)
    assert found.identity is not None
    uid, gid, groups = found.identity
    assert (uid, gid) == (entry.pw_uid, entry.pw_gid)
    assert groups == sorted(set(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    names = {name: found.environment[name] for name in ("HOME", "USER", "LOGNAME")}
    assert names == {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    assert {"HOME", "USER", "LOGNAME"} <= set(found.added)


@as_root
def test_a_user_by_number_is_the_same_where_passwd_knows_it() -> None:
    entry = another()
    by_name, by_number = resolve("true", user=entry.pw_name), resolve("true", user=str(entry.pw_uid))
    assert by_name.identity == by_number.identity
    assert by_name.environment == by_number.environment


@as_root
@pytest.mark.parametrize("by_number", [False, True])
def test_a_group_replaces_all_others(by_number: bool) -> None:
    entry, group = another(), grp.getgrall()[-1]
    text = f"{entry.pw_name}:{group.gr_gid if by_number else group.gr_name}"
    assert resolve("true", user=text).identity == (entry.pw_uid, group.gr_gid, [group.gr_gid])


@as_root
def test_further_groups_are_those_of_the_group_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 7, 4])  # stands for a group file with more
    entry = another()
    found = resolve("true", user=entry.pw_name)
    assert found.identity == (entry.pw_uid, entry.pw_gid, sorted({4, 7, entry.pw_gid}))
    assert resolve("true", user=f"{entry.pw_name}:9").identity == (entry.pw_uid, 9, [9])


@as_root
def test_a_number_that_nobody_has_gets_a_group_of_its_own_and_a_warning() -> None:
    found = resolve("true", user="54321", environment={**PATH, "HOME": "/somewhere"})
    assert found.identity == (54321, 54321, [54321])
    assert found.environment["HOME"] == "/somewhere"
    assert "uid 54321 is not in /etc/passwd" in found.warnings[0]
    assert resolve("true", user="54321:0").identity == (54321, 0, [0])


@as_root
def test_the_program_runs_as_the_user(tree: Tree) -> None:
    entry = another()
    result = tree.run("-q", "--user", entry.pw_name, "sh", "-c", 'id -u; id -g; echo "$HOME $USER"')
    assert result.out.split("\n")[:3] == [
        str(entry.pw_uid),
        str(entry.pw_gid),
        f"{entry.pw_dir} {entry.pw_name}",
    ]
    result = tree.run("-q", "--user", "54321:54322", "sh", "-c", "id -u; id -G")
    assert result.out == "54321\n54322\n"


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
@pytest.mark.parametrize("capability", ["setuid", "setgid"])
def test_without_the_capability_it_is_refused_before_anything_is_started(tree: Tree, capability: str) -> None:
    result = tree.run("--user", "54321", "touch", str(tree.marker), prefix=("setpriv", f"--bounding-set=-{capability}"))
    assert result.code == 2
    assert result.lines == [
        f"error: --user: uid 0 cannot become 54321:54321 without CAP_{capability.upper()}: start smentry"
        " as root with that capability, or leave the option out"
    ]
    assert not tree.marker.exists()


def test_where_the_user_came_from_is_said(tmp_path: Path) -> None:
    file = tmp_path / "smentry.yaml"
    file.write_text("user: no-such-user\n")
    for flags, variables, where in (
        ([config.Flag(BY_NAME["config"], str(file), "--config")], {}, f"{file}: user:"),
        ([], {"SMENTRY_USER": "no-such-user"}, "SMENTRY_USER:"),
    ):
        with pytest.raises(RefusedError) as refused:
            job.resolve(None, ["true"], config.resolve(flags, variables, "/no/such.yaml"), PATH)
        assert refused.value.message.startswith(f"{where} no user 'no-such-user'")
        assert refused.value.code == 2
