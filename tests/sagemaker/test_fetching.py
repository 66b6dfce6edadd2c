"""Code that is brought into the code directory before the program is looked for: by real processes, from the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from container import PYTHON, SHELL, Directory, Executable, Link, Tree

from tests.sagemaker.submitted import SOURCES, archive, directory, ran, train


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# -- from where --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2", "w:xz"])
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_an_archive_is_unpacked(mode: str, prefix: str, tree: Tree) -> None:
    result = train(tree, f"{prefix}{archive(tree.other / 'source dir.tar', SOURCES, mode)}")
    assert ran(result, tree)
    assert f"code: unpacked 3 files, {len(PYTHON) + len(SHELL)} bytes, to {tree.base}/code" in result.lines
    assert (tree.base / "code/lib/__init__.py").exists()


def test_a_directory_is_copied(tree: Tree) -> None:
    source = directory(tree.other / "source", SOURCES)
    (source / "link.py").symlink_to(tree.other / "source/train.py")
    (source / "near.py").symlink_to("train.py")
    (source / "gone.py").symlink_to("nowhere")
    assert ran(train(tree, source), tree)
    assert (tree.base / "code/link.py").read_text() == PYTHON
    assert not (tree.base / "code/link.py").is_symlink()
    assert (tree.base / "code/near.py").read_text() == PYTHON
    assert not os.path.lexists(tree.base / "code/gone.py")


def test_a_single_file_is_the_program(tree: Tree) -> None:
    source = directory(tree.other, {"train.py": PYTHON}) / "train.py"
    assert ran(train(tree, source), tree)


@pytest.mark.parametrize("encoded", [True, False])
def test_the_hyperparameter_counts_over_the_variable(encoded: bool, tree: Tree) -> None:
    source = str(archive(tree.other / "s.tar.gz", SOURCES))
    value = f'"{source}"' if encoded else source
    tree.put(
        "input/config/hyperparameters.json", {"sagemaker_submit_directory": value, "sagemaker_program": '"run.sh"'}
    )
    assert tree.run("train", "x", SAGEMAKER_SUBMIT_DIRECTORY="/image/code", SMENTRY_HYPERPARAMETERS="none").code == 0
    assert tree.marker.exists()


@pytest.mark.parametrize("program", ["train.py", None])
def test_an_archive_in_the_code_channel_is_unpacked(program: str | None, tree: Tree) -> None:
    archive(tree.base / "input/data/code/sourcedir.tar.gz", SOURCES)
    named = {"SAGEMAKER_PROGRAM": program} if program else {}
    assert ran(tree.run("train", "x", **named), tree)


def test_without_the_name_of_a_program_the_code_is_searched_as_ever(tree: Tree) -> None:
    assert ran(train(tree, archive(tree.other / "s.tar.gz", SOURCES), None), tree)


def test_another_program_makes_it_needless(tree: Tree) -> None:
    tree.put("../bin/train", Executable("#!/bin/sh\n" + SHELL))
    assert train(tree, archive(tree.other / "s.tar.gz", SOURCES), None).code == 0
    assert not (tree.base / "code").exists()
    assert (
        tree.run("--train", "true", "train", SAGEMAKER_PROGRAM="train.py", SAGEMAKER_SUBMIT_DIRECTORY="/nowhere").code
        == 0
    )


# -- to where ----------------------------------------------------------------------------------------


def test_code_that_is_there_is_left_alone(tree: Tree) -> None:
    tree.put("code/train.py", PYTHON)
    source = archive(tree.other / "s.tar.gz", {"train.py": "raise SystemExit(9)"})
    result = train(tree, source)
    assert ran(result, tree)
    assert f"{tree.base}/code was not empty, so {source} (SAGEMAKER_SUBMIT_DIRECTORY) is left alone" in result.err


@pytest.mark.parametrize("program", ["train.py", None])
def test_what_was_not_fetched_is_named_where_no_program_is_found(program: str | None, tree: Tree) -> None:
    tree.put("code/lost+found", Directory())
    source = archive(tree.other / "s.tar.gz", SOURCES)
    result = train(tree, source, program)
    assert (result.code, tree.marker.exists()) == (127, False)
    assert f"{tree.base}/code was not empty, so {source} (SAGEMAKER_SUBMIT_DIRECTORY) is left alone" in result.err


@pytest.mark.parametrize("source", ["{base}/code", "{base}/code/", "file://{base}/code"])
def test_the_code_directory_is_its_own_source(source: str, tree: Tree) -> None:
    tree.put("code/train.py", PYTHON)
    result = train(tree, source.format(base=tree.base))
    assert ran(result, tree)
    assert "left alone" not in result.err


@pytest.mark.parametrize("kind", ["missing", "empty", "a link"])
def test_the_code_directory_may_be(kind: str, tree: Tree) -> None:
    if kind == "empty":
        tree.put("code", Directory())
    elif kind == "a link":
        tree.put("code", Link("{other}/elsewhere"))
        (tree.other / "elsewhere").mkdir()
    result = train(tree, archive(tree.other / "s.tar.gz", SOURCES), "run.sh")
    assert (result.code, tree.marker.exists()) == (0, True), result.err
    assert (tree.base / "code").is_symlink() == (kind == "a link")


def test_half_of_it_is_not_taken_for_the_whole_after_a_restart(tree: Tree) -> None:
    tree.put("code/.smentry-code/code/lib.py", "half")
    tree.put("code/train.py", "half")
    assert ran(train(tree, archive(tree.other / "s.tar.gz", SOURCES)), tree)


# What is mounted from the same file system has the same device number: os.path.ismount does not know it.
MOUNTS = {
    "another file system": 'mount -t tmpfs tmpfs "$1"',
    "a directory of the same": 'mkdir "$1.d" && mount --bind "$1.d" "$1"',
    "what was left half full": 'mount -t tmpfs tmpfs "$1" && mkdir "$1/.smentry-code" && touch "$1/train.py"',
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("mount", MOUNTS)
def test_the_code_directory_may_be_a_mount_point(mount: str, tree: Tree) -> None:
    tree.put("code", Directory())
    script = f'{MOUNTS[mount]} && shift && "$@" && ls -A "$0"'
    prefix = ("unshare", "-m", "sh", "-c", script, f"{tree.base}/code", f"{tree.base}/code")
    source = archive(tree.other / "s.tar.gz", SOURCES)
    result = tree.run("train", prefix=prefix, SAGEMAKER_SUBMIT_DIRECTORY=str(source), SAGEMAKER_PROGRAM="train.py")
    if result.err.startswith(("mount:", "unshare:")):
        pytest.skip(f"no mounts here: {result.err.strip()}")
    assert result.out.split("\n", 1)[1] == "lib\nrun.sh\ntrain.py\n", result.err


def test_what_is_in_the_code_directory_already_stays_there(tree: Tree) -> None:
    """PID 1 of an image with WORKDIR /opt/ml/code, and with it hooks and companions."""
    code = tree.put("code", Directory())
    tree.put("smentry.yaml", "hooks: [{on: exit, run: [sh, -c, 'cat train.py > \"$MARKER\"']}]")
    source = archive(tree.other / "s.tar.gz", SOURCES)
    variables = {"SAGEMAKER_SUBMIT_DIRECTORY": str(source), "SAGEMAKER_PROGRAM": "train.py"}
    result = tree.run("--config", str(tree.base / "smentry.yaml"), "train", cwd=code, **variables)
    assert result.code == 0, result.err
    assert tree.marker.read_text() == PYTHON, result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("kind", ["archive", "directory"])
def test_the_code_belongs_to_the_user_of_the_program(kind: str) -> None:
    # Not below pytest's own directory, which is for its owner alone.
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        tree = Tree(Path(place))
        make = archive if kind == "archive" else directory
        source = make(tree.other / "source", {"run.sh": "touch made; id -u\n", "lib/x.py": ""})
        result = train(tree, source, "run.sh", SMENTRY_USER="65534:65534")
        assert (result.code, result.out) == (0, "65534\n"), result.err
        assert {path.stat().st_uid for path in (tree.base / "code").rglob("*")} == {65534}
        assert tree.base.stat().st_uid == 0


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "/no/such/place",
            "SAGEMAKER_SUBMIT_DIRECTORY: no such file or directory: /no/such/place: expected a directory, a tar",
        ),
        (
            "https://x/y.tar.gz?X-Amz-Signature=secret",
            "expected a directory, a tar archive, or s3://BUCKET/KEY of one, got 'https://…'",
        ),
        ("s3://bucket", "expected s3://BUCKET/KEY of a tar archive, got 's3://bucket'"),
        ("s3://bucket/prefix/", "expected s3://BUCKET/KEY of a tar archive, got 's3://bucket/prefix/'"),
    ],
)
def test_a_source_that_cannot_be_is_refused_before_anything_starts(source: str, message: str, tree: Tree) -> None:
    result = train(tree, source)
    assert result.code == 2
    assert len(result.lines) == 1
    assert message in result.lines[0]
    assert tree.failure is not None
    assert message in tree.failure


def test_an_archive_that_reaches_out_fails_the_job_with_one_line(tree: Tree) -> None:
    source = archive(tree.other / "s.tar.gz", {"train.py": "", "../../outside": "x"})
    result = train(tree, source)
    assert result.code == 1
    assert (
        f"code: SAGEMAKER_SUBMIT_DIRECTORY: {source}: names '../../outside': expected paths inside the archive, without"
        in result.err
    )
    assert sorted(os.listdir(tree.base)) in (["code", "output"], ["code"])
    assert os.listdir(tree.base / "code") == []
    assert tree.failure is None or "names '../../outside'" in tree.failure


def test_an_archive_may_not_hold_the_name_that_says_that_it_is_not_whole(tree: Tree) -> None:
    result = train(tree, archive(tree.other / "s.tar.gz", {"train.py": PYTHON, ".smentry-code/x": ""}))
    assert result.code == 1
    assert "holds '.smentry-code': that name is smentry's own" in result.err
    assert os.listdir(tree.base / "code") == []


def test_a_fifo_is_not_waited_for(tree: Tree) -> None:
    os.mkfifo(tree.other / "pipe")
    result = train(tree, tree.other / "pipe")
    assert (result.code, tree.marker.exists()) == (1, False)
    assert "pipe: is neither a file nor a directory" in result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_cannot_be_put_into_a_mount_point_is_taken_out_of_it_again(tree: Tree) -> None:
    """A name that is taken, by somebody who came between: here by what the mount point holds already, out of sight."""
    tree.put("code", Directory())
    busy = 'mount -t tmpfs tmpfs "$1" && mkdir "$1/.smentry-code" && mkdir "$1/lib" && mount -t tmpfs tmpfs "$1/lib"'
    prefix = (
        "unshare",
        "-m",
        "sh",
        "-c",
        f'{busy} && shift && "$@"; ls -A "$0"',
        f"{tree.base}/code",
        f"{tree.base}/code",
    )
    source = archive(tree.other / "s.tar.gz", SOURCES)
    result = tree.run("train", prefix=prefix, SAGEMAKER_SUBMIT_DIRECTORY=str(source), SAGEMAKER_PROGRAM="train.py")
    if result.err.startswith(("mount:", "unshare:")):
        pytest.skip(f"no mounts here: {result.err.strip()}")
    assert "cannot be put into" in result.err
    assert ".smentry-code" in result.out.split("\n")
    assert not tree.marker.exists()


@pytest.mark.parametrize("target", [".", "..", "../b"])
def test_a_directory_that_holds_itself_is_not_copied_for_ever(target: str, tree: Tree) -> None:
    source = directory(tree.other / "source", {**SOURCES, "a/x": "", "b/x": ""})
    (source / "a/link").symlink_to(target)
    (source / "b/link").symlink_to("../a")
    result = train(tree, source)
    assert (result.code, tree.marker.exists()) == (1, False)
    assert "which it is in itself: remove it" in result.err
    assert os.listdir(tree.base / "code") == []


def test_what_a_directory_holds_and_cannot_be_copied_is_named(tree: Tree) -> None:
    source = directory(tree.other / "source", SOURCES)
    os.mkfifo(source / "pipe")
    result = train(tree, source)
    assert result.code == 1
    assert f"SAGEMAKER_SUBMIT_DIRECTORY: {source}: cannot be copied: {source}/pipe: " in result.err
    assert "Errno" not in result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("mode", "message"),
    [(0o755, "cannot be read: permission denied (smentry runs as uid 1234)"), (0o700, "cannot be put into")],
)
def test_who_may_not_read_or_write_is_named(mode: int, message: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        tree = Tree(Path(place))
        source = archive(tree.other / "s.tar.gz", SOURCES)
        if mode == 0o755:
            source.chmod(0o600)
            os.chown(tree.base, 1234, 1234)
        prefix = ("setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups")
        if subprocess.run([*prefix, sys.executable, "-c", "import smentry.cli"], capture_output=True).returncode:
            pytest.skip("this Python, or what it loads, is not for everybody to read")
        variables = {"SAGEMAKER_SUBMIT_DIRECTORY": str(source), "SAGEMAKER_PROGRAM": "train.py"}
        result = tree.run("train", prefix=prefix, **variables)
    assert result.code == 1
    assert message in result.err
    assert "uid 1234" in result.err


def test_a_name_of_two_lines_is_one_line(tree: Tree) -> None:
    source = tree.other / "a\nb.tar"
    source.write_text("no tar")
    result = train(tree, source)
    assert (
        f"code: SAGEMAKER_SUBMIT_DIRECTORY: {tree.other}/a\\nb.tar: is no tar archive: it begins with b'no tar'"
        in result.lines
    )
    assert tree.failure is None or "b'no tar'" in tree.failure


def test_a_directory_around_the_code_directory_is_refused(tree: Tree) -> None:
    result = train(tree, tree.base)
    assert result.code == 1
    assert f"is the code directory {tree.base}/code itself, or above it: expected another directory" in result.err


def test_a_program_that_did_not_come_along_is_named_with_what_did(tree: Tree) -> None:
    result = train(tree, archive(tree.other / "s.tar.gz", {"other.py": ""}))
    assert result.code == 127
    assert f"error: SAGEMAKER_PROGRAM: no 'train.py' in {tree.base}/code: it holds other.py" in result.lines
    assert tree.failure is not None
    assert "no 'train.py' in" in tree.failure


@pytest.mark.parametrize("name", ["../x.py", "/etc/passwd", "-c", "--help"])
def test_a_program_outside_or_like_an_option_is_refused_before_anything_is_fetched(name: str, tree: Tree) -> None:
    result = train(tree, archive(tree.other / "s.tar.gz", SOURCES), name)
    assert result.code == 2
    assert result.lines == [f"error: SAGEMAKER_PROGRAM: expected the name of a file in {tree.base}/code, got {name!r}"]
    assert not (tree.base / "code").exists()


def test_a_file_in_the_place_of_the_code_directory_is_one_line(tree: Tree) -> None:
    tree.put("code", "")
    result = train(tree, archive(tree.other / "s.tar.gz", SOURCES))
    assert result.code == 1
    assert f"cannot be put into {tree.base}/code: file exists: expected a directory, or nothing" in result.err


def test_half_a_character_is_no_name_of_a_program(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {"sagemaker_program": '"\\ud800.py"'})
    result = train(tree, archive(tree.other / "s.tar.gz", SOURCES), None)
    assert result.code == 2
    assert "sagemaker_program: expected the name of a file, got '\\ud800.py'" in result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_is_one_line_and_leaves_nothing(tree: Tree) -> None:
    script = 'mount -t tmpfs -o size=20m tmpfs "$1" && shift && "$@"; code=$?; ls -A "$0/code"; exit $code'
    prefix = ("unshare", "-m", "sh", "-c", script, str(tree.base), str(tree.base))
    source = archive(tree.other / "s.tar.gz", {"train.py": PYTHON, "large": "\0" * (20 << 20)})
    result = tree.run("train", prefix=prefix, SAGEMAKER_SUBMIT_DIRECTORY=str(source), SAGEMAKER_PROGRAM="train.py")
    if result.err.startswith(("mount:", "unshare:")):
        pytest.skip(f"no mounts here: {result.err.strip()}")
    assert result.code == 1
    assert "does not fit on the disk: 'large' has 21.0 MB, and there is room for 18.9 MB" in result.err
    assert result.out == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_small_file_system_is_no_obstacle(tree: Tree) -> None:
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && shift && "$@"'
    prefix = ("unshare", "-m", "sh", "-c", script, str(tree.base), str(tree.base))
    source = archive(tree.other / "s.tar.gz", SOURCES)
    result = tree.run("train", prefix=prefix, SAGEMAKER_SUBMIT_DIRECTORY=str(source), SAGEMAKER_PROGRAM="train.py")
    if result.err.startswith(("mount:", "unshare:")):
        pytest.skip(f"no mounts here: {result.err.strip()}")
    assert (result.code, tree.marker.exists()) == (0, True), result.err
