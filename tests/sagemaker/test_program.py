from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from container import PYTHON, SHELL, Directory, Executable, Link, Result, Tree

DATA = "input/data"
CODE = f"{DATA}/code"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def ran(result: Result, script: str | Path, directory: str | Path, *arguments: str) -> bool:
    """Whether the script ran as `script` in `directory` with these arguments, and nothing went wrong."""
    expected = " ".join([f"ran {script} in {directory} with {len(arguments)}:", *arguments])
    assert result.out.splitlines() == [expected], result.err
    assert result.code == 0
    return True


# -- the order of the search -------------------------------------------------------------------------

PLACES = [
    ("--script", {f"{DATA}/named/x.sh": SHELL}, ["--script", "named/x.sh"], {}, f"{DATA}/named/x.sh"),
    ("--train", {"cmd.sh": Executable("#!/bin/sh\n" + SHELL)}, ["--train", "{base}/cmd.sh"], {}, "cmd.sh"),
    ("SAGEMAKER_PROGRAM", {"code/p.py": PYTHON}, [], {"SAGEMAKER_PROGRAM": "p.py"}, "code/p.py"),
    (
        "sagemaker_program",
        {"code/h.py": PYTHON, "input/config/hyperparameters.json": {"sagemaker_program": '"h.py"'}},
        [],
        {},
        "code/h.py",
    ),
    ("sm_drivers", {f"{DATA}/sm_drivers/sm_train.sh": "\n" + SHELL}, [], {}, f"{DATA}/sm_drivers/sm_train.sh"),
    ("PATH", {"../bin/train": Executable("#!/bin/sh\n" + SHELL)}, [], {}, "../bin/train"),
    (
        "channel entrypoint.sh",
        {f"{CODE}/custom_entrypoint.sh": SHELL},
        [],
        {},
        f"{CODE}/custom_entrypoint.sh",
    ),
    (
        "channel entrypoint.py",
        {f"{CODE}/custom_entrypoint.py": PYTHON},
        [],
        {},
        f"{CODE}/custom_entrypoint.py",
    ),
    ("channel train", {f"{CODE}/train": "#!/bin/sh\n" + SHELL}, [], {}, f"{CODE}/train"),
    ("channel train.sh", {f"{CODE}/train.sh": SHELL}, [], {}, f"{CODE}/train.sh"),
    ("channel train.py", {f"{CODE}/train.py": PYTHON}, [], {}, f"{CODE}/train.py"),
    ("code entrypoint.sh", {"code/custom_entrypoint.sh": SHELL}, [], {}, "code/custom_entrypoint.sh"),
    ("code entrypoint.py", {"code/custom_entrypoint.py": PYTHON}, [], {}, "code/custom_entrypoint.py"),
    ("code train", {"code/train": "#!/bin/sh\n" + SHELL}, [], {}, "code/train"),
    ("code train.sh", {"code/train.sh": SHELL}, [], {}, "code/train.sh"),
    ("code train.py", {"code/train.py": PYTHON}, [], {}, "code/train.py"),
    ("other channel", {f"{DATA}/x/custom_entrypoint.sh": SHELL}, [], {}, f"{DATA}/x/custom_entrypoint.sh"),
]


@pytest.mark.parametrize("position", range(len(PLACES)), ids=[place[0] for place in PLACES])
def test_the_first_place_wins_over_all_that_come_after_it(tree: Tree, position: int) -> None:
    arguments: list[str] = []
    variables: dict[str, str] = {}
    for _, files, words, names, _ in reversed(PLACES[position:]):
        for path, content in files.items():
            tree.put(path, content)
        arguments = [word.format(base=tree.base) for word in words] + arguments
        variables.update(names)
    result = tree.run("-q", *arguments, "train", "a b", **variables)
    expected = os.path.normpath(tree.base / PLACES[position][4])
    assert result.out.startswith(f"ran {expected} in "), result.err
    assert result.out.endswith("with 1: a b\n")


@pytest.mark.parametrize("name", ["custom_entrypoint.sh", "custom_entrypoint.py", "serve", "serve.sh", "serve.py"])
def test_serve_is_searched_like_train(tree: Tree, name: str) -> None:
    script = tree.put(f"{CODE}/{name}", PYTHON if name.endswith(".py") else "#!/bin/sh\n" + SHELL)
    tree.put(f"{CODE}/train", "#!/bin/false\n")
    assert ran(tree.run("-q", "serve", "x"), script, script.parent, "x")


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_the_code_channel_may_be_file_or_fastfile(tree: Tree, mode: str) -> None:
    tree.channels(code=mode, data="Pipe")
    script = tree.put(f"{CODE}/train.py", PYTHON)
    assert ran(tree.run("-q", "train"), script, script.parent)


def test_a_directory_named_train_is_passed_over(tree: Tree) -> None:
    tree.put(f"{CODE}/train/__init__.py", "")
    script = tree.put(f"{CODE}/train.py", PYTHON)
    assert ran(tree.run("-q", "train"), script, script.parent)


def test_what_was_looked_at_is_listed(tree: Tree) -> None:
    tree.channels(code="Pipe", a="File", b="FastFile")
    tree.put("../bin/train", "no bit")
    result = tree.run("train")
    parameters = tree.base / "input/config/hyperparameters.json"
    assert result.code == 127
    assert result.lines == [
        "error: no program for train; looked at:",
        "error:   --script, --train: not given",
        f"error:   SAGEMAKER_PROGRAM and sagemaker_program in {parameters}: not set",
        f"error:   {tree.base}/input/data/sm_drivers/sm_train.sh: no such file",
        f"error:   train on PATH ({tree.environment['PATH']}): {tree.bin}/train has no executable bit",
        "error:   channel code: has InputMode Pipe, so no files",
        f"error:   {tree.base}/code: is not there, so none of custom_entrypoint.sh, custom_entrypoint.py,"
        " train, train.sh, train.py",
        "error:   other File channels (a): no custom_entrypoint.sh or custom_entrypoint.py",
    ]
    assert tree.failure is not None
    assert tree.failure.splitlines()[1].strip() == "--script, --train: not given"


# -- smentry itself under the name train -------------------------------------------------------------


def test_a_script_that_runs_smentry_train_is_not_found_by_it_again(tree: Tree) -> None:
    train = tree.bin / "train"
    train.write_text(f'#!/bin/sh\necho started >> {tree.marker}\nexec {sys.executable} -m smentry train "$@"\n')
    train.chmod(0o755)
    result = tree.run("train")
    assert result.code == 127
    assert f"{train} is smentry itself" in result.err
    assert tree.marker.read_text() == "started\n"


@pytest.mark.parametrize("way", ["link", "hard link", "copy", "link to a link"])
def test_smentry_is_not_its_own_program(tree: Tree, way: str) -> None:
    own = tree.bin / "smentry"
    own.write_text(f"#!{sys.executable}\nimport sys\nfrom smentry.__main__ import main\nsys.exit(main())\n")
    own.chmod(0o755)
    train = tree.bin / "train"
    if way == "link":
        train.symlink_to("smentry")
    elif way == "hard link":
        os.link(own, train)
    elif way == "copy":
        shutil.copy(own, train)
    else:
        (tree.other / "link").symlink_to(own)
        train.symlink_to(tree.other / "link")
    script = tree.put(f"{CODE}/train.sh", SHELL)
    for command in (
        [own, "-q", "train", "x"],
        [train, "x"],
        [sys.executable, "-m", "smentry", "-q", "train", "x"],
    ):
        run = subprocess.run(command, env=tree.environment, cwd=tree.other, capture_output=True, text=True, timeout=60)
        assert ran(Result(run.returncode, run.stdout, run.stderr), script, script.parent, "x")


@pytest.mark.parametrize("way", ["link under its own name", "hard link of what runs"])
def test_smentry_is_known_by_its_file_too(tree: Tree, way: str) -> None:
    own = tree.bin / "smentry"
    own.write_text(f"#!{sys.executable}\n{'#' * 2000}\nfrom smentry.__main__ import main\nmain()\n")
    own.chmod(0o755)
    train = tree.bin / "train"
    script = tree.put(f"{CODE}/train.sh", SHELL)
    command = [str(own), "-q", "train"]
    if way == "hard link of what runs":
        os.link(own, train)
    else:
        train.symlink_to(own)
        command = [sys.executable, "-m", "smentry", "-q", "train"]
    run = subprocess.run(command, env=tree.environment, cwd=tree.other, capture_output=True, text=True, timeout=60)
    assert ran(Result(run.returncode, run.stdout, run.stderr), script, script.parent)


# -- how it is run -----------------------------------------------------------------------------------

NAMES = ["plain", "with blanks", "mit Umläuten äöü", "-dash", "a'quote", "日本", "$HOME", "new\nline"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", [".sh", ".py", ""])
def test_a_script_of_a_channel_with_any_name(tree: Tree, name: str, ending: str) -> None:
    content = PYTHON if ending == ".py" else SHELL
    script = tree.put(f"{DATA}/my channel/{name}{ending}", "#!/bin/sh\n" + content if not ending else content)
    result = tree.run("-q", "--script", f"my channel/{name}{ending}", "train", "a", "b c", "")
    expected = f"ran {script} in {script.parent} with 3: a b c \n"
    assert (result.code, result.out) == (0, expected), result.err


def test_a_script_name_that_is_not_utf8(tree: Tree) -> None:
    name = os.fsdecode(b"\xff.sh")
    tree.put(f"{CODE}/{name}", 'touch "$MARKER"\n')
    assert tree.run("-q", "--script", f"code/{name}").code == 0
    assert tree.marker.exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("x.sh", SHELL, "a .sh is run with sh"),
        ("x.py", PYTHON, "a .py is run with Python"),
        ("x.py", PYTHON.replace("\n", "\r\n"), "a .py is run with Python"),
        ("x.py", "\ufeff" + PYTHON, "a .py is run with Python"),
        ("x.py", Executable(PYTHON), "a .py is run with Python"),
        ("x.sh", Executable(SHELL), "a .sh is run with sh"),
        ("x", "#!/bin/sh\n" + SHELL, "its #! line is followed"),
        ("x", "#! /bin/sh -e\n" + SHELL, "its #! line is followed"),
        ("x", "#!/usr/bin/env sh\n" + SHELL, "its #! line is followed"),
        ("x", "#!/usr/bin/env -S sh -e\n" + SHELL, "its #! line is followed"),
        ("x.sh", "#!/usr/bin/env python3\n" + PYTHON, "its #! line is followed"),
        ("x.py", "#!/bin/sh\n" + SHELL, "its #! line is followed"),
        ("x.txt", Executable("#!/bin/sh\n" + SHELL), "it has the executable bit"),
        ("x", Executable("#!/usr/bin/env -S python3 -u\n" + PYTHON), "it has the executable bit"),
        ("x", Executable(SHELL), "it has the executable bit"),
    ],
)
def test_how_a_script_is_run(tree: Tree, name: str, content: str | Executable, why: str) -> None:
    script = tree.put(f"{CODE}/{name}", content)
    result = tree.run("--script", f"code/{name}", "a b")
    assert ran(result, script, script.parent, "a b")
    assert any(line.endswith(f"({name} is in channel code; {why})") for line in result.lines)


@pytest.mark.parametrize("argument", ["", " -e", "  -e -u ", "\t-e"])
def test_the_interpreter_gets_one_argument_as_from_the_kernel(tree: Tree, argument: str) -> None:
    show = tree.put("../bin/show", Executable('#!/bin/sh\nprintf "%s|" "$@"\n'))
    for content in (f"#!{show}{argument}\n", Executable(f"#!{show}{argument}\n")):
        (tree.base / CODE / "x").unlink(missing_ok=True)
        script = tree.put(f"{CODE}/x", content)
        expected = f"{argument.strip()}|{script}|b c|" if argument else f"{script}|b c|"
        assert tree.run("-q", "--script", "code/x", "b c").out == expected


def test_python_is_the_images_and_not_smentrys(tree: Tree) -> None:
    tree.put(f"{CODE}/train.py", PYTHON)
    says = Executable('#!/bin/sh\necho "$0"\n')
    python = tree.put("../bin/python", says)
    assert tree.run("-q", "train", PATH=str(tree.bin)).out == f"{python.resolve()}\n"
    python3 = tree.put("../bin/python3", says)
    assert tree.run("-q", "train", PATH=str(tree.bin)).out == f"{python3.resolve()}\n"
    other = tree.put("../other/py", says).resolve()
    assert tree.run("-q", "train", SMENTRY_PYTHON=str(other)).out == f"{other}\n"
    assert tree.run("-q", "train", SMENTRY_PYTHON="python").out == f"{python.resolve()}\n"


def test_a_path_inside_the_channel_and_a_link_that_stays_there(tree: Tree) -> None:
    script = tree.put(f"{CODE}/a/b.sh", SHELL)
    tree.put(f"{CODE}/link.sh", Link("a/b.sh"))
    assert ran(tree.run("-q", "--script", "code/a/b.sh"), script, script.parent)
    assert ran(tree.run("-q", "--script", "code/./a//b.sh"), script, script.parent)
    assert ran(tree.run("-q", "--script", "code/link.sh"), tree.base / CODE / "link.sh", tree.base / CODE)


def test_a_channel_that_is_itself_a_link(tree: Tree) -> None:
    (tree.other / "x.sh").write_text(SHELL)
    tree.put(CODE, Link("{other}"))
    result = tree.run("-q", "--script", "code/x.sh")
    assert result.code == 0
    assert tree.marker.exists()


@pytest.mark.parametrize("words", [["train"], [], ["serve"], ["--", "train"]])
def test_a_script_with_and_without_a_verb(tree: Tree, words: list[str]) -> None:
    script = tree.put(f"{DATA}/s3-channel/custom_entrypoint.sh", SHELL)
    result = tree.run("-q", "--script", "s3-channel/custom_entrypoint.sh", *words, "a", "b c")
    assert ran(result, script, script.parent, "a", "b c")


def test_a_script_with_a_command_for_arguments(tree: Tree) -> None:
    script = tree.put(f"{CODE}/x.sh", SHELL)
    assert ran(tree.run("-q", "--script=code/x.sh", "python", "-v"), script, script.parent, "python", "-v")


def test_a_sharded_channel_runs_with_a_warning(tree: Tree) -> None:
    tree.channels(code={"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"})
    script = tree.put(f"{CODE}/x.sh", SHELL)
    for arguments in (["--script", "code/x.sh"], ["train"]):
        if arguments == ["train"]:
            script = script.rename(script.with_name("train.sh"))
        result = tree.run(*arguments)
        assert ran(result, script, script.parent)
        warnings = [line for line in result.lines if line.startswith("warning: ")]
        assert len(warnings) == 1
        assert "channel code is ShardedByS3Key" in warnings[0]


def test_a_directory_that_is_not_described_is_used_when_asked_for_only(tree: Tree) -> None:
    tree.channels(data="File")
    script = tree.put(f"{DATA}/x/custom_entrypoint.sh", SHELL)
    assert tree.run("train").code == 127
    result = tree.run("--script", "x/custom_entrypoint.sh")
    assert ran(result, script, script.parent)
    assert any("does not name it" in line for line in result.lines)


# -- the training toolkit's convention ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.py", "my train.py", "sub/x.py"])
def test_a_python_program_of_the_toolkit(tree: Tree, name: str) -> None:
    script = tree.put(f"code/{name}", PYTHON.replace("\n", "\r\n"))
    assert ran(tree.run("-q", "train", "x", SAGEMAKER_PROGRAM=name), script, tree.base / "code", "x")


@pytest.mark.parametrize("name", ["run", "run.sh", "run.bash"])
def test_anything_else_is_run_by_a_shell(tree: Tree, name: str) -> None:
    script = tree.put(f"code/{name}", SHELL)
    assert ran(tree.run("-q", "train", "x", SAGEMAKER_PROGRAM=name), script, tree.base / "code", "x")


@pytest.mark.parametrize("mark", ["setup.py", "pyproject.toml"])
@pytest.mark.parametrize("where", ["code", "code/pkg"])
def test_a_package_is_run_as_a_module(tree: Tree, mark: str, where: str) -> None:
    tree.put(f"{where}/{mark}", "")
    tree.put("code/pkg/__init__.py", "")
    script = tree.put("code/pkg/__main__.py", PYTHON)
    result = tree.run("-q", "--requirements", "ignore", "train", "x", SAGEMAKER_PROGRAM="pkg")
    assert ran(result, script, tree.base / "code", "x")


def test_a_package_within_its_project(tree: Tree) -> None:
    tree.put("code/pkg/pyproject.toml", "")
    tree.put("code/pkg/pkg/__init__.py", "")
    script = tree.put("code/pkg/pkg/__main__.py", PYTHON)
    assert ran(tree.run("-q", "train", SAGEMAKER_PROGRAM="pkg"), script, tree.base / "code/pkg")


def test_the_variable_is_over_the_hyperparameter(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {"sagemaker_program": "b.py"})
    script = tree.put("code/a.py", PYTHON)
    assert ran(tree.run("-q", "train", SAGEMAKER_PROGRAM="a.py"), script, tree.base / "code")


# -- what needs a mount or a missing right -----------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def mounted(tree: Tree, options: str, *arguments: str) -> Result:
    """Run smentry where the code channel is a mount with these options, in a mount namespace of its own."""
    tree.put("mounted", Directory())
    script = 'mount -t tmpfs tmpfs "$1" && cp -a "$2"/. "$1" && mount -o remount,"$3" "$1" && shift 3 && exec "$@"'
    prefix = (
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        "sh",
        f"{tree.base}/mounted",
        f"{tree.base}/{CODE}",
        options,
    )
    result = tree.run(*arguments, prefix=prefix)
    if result.err.startswith(("mount:", "unshare:")):
        pytest.skip(f"no mounts here: {result.err.strip()}")
    return result


@as_root
@pytest.mark.parametrize("interpreted", [False, True])
def test_a_noexec_mount_is_named_where_it_matters(tree: Tree, interpreted: bool) -> None:
    tree.put(f"{CODE}/x.sh", "#!/bin/sh\n" + SHELL if interpreted else Executable("#!/bin/sh\n" + SHELL))
    tree.put(f"{DATA}/mnt", Link("{base}/mounted"))
    result = mounted(tree, "noexec", "--script", "mnt/x.sh")
    if interpreted:
        assert result.code == 0
        assert tree.marker.exists()
    else:
        assert result.code == 126
        assert len(result.lines) == 1
        assert "is on a file system mounted noexec" in result.lines[0]
        assert not tree.marker.exists()


@as_root
def test_a_read_only_mount_is_no_obstacle(tree: Tree) -> None:
    tree.put(f"{CODE}/x.py", PYTHON)
    tree.put(f"{DATA}/mnt", Link("{base}/mounted"))
    assert mounted(tree, "ro", "-q", "--script", "mnt/x.py").code == 0
    assert tree.marker.exists()


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
@pytest.mark.parametrize("name", ["x.sh", "x.py", "x"])
def test_an_unreadable_file_is_named(tree: Tree, name: str) -> None:
    tree.put(f"{CODE}/{name}", SHELL).chmod(0)
    drop = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    result = tree.run("--script", f"code/{name}", prefix=drop)
    assert (result.code, result.lines) == (
        126,
        [f"error: {tree.base}/{CODE}/{name}: cannot be read: permission denied"],
    )
    assert not tree.marker.exists()
