"""The README's five minutes: its commands are run as they stand, in a copy of the repository."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from .containers import ROOT, docker, follow

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = ("smentry-test-readme", "my-job-test-readme")


def test_a_job_of_ones_own_is_stopped_and_saved(base: str, tmp_path: Path) -> None:
    checkout = tmp_path / "smentry"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__", "dist"))
    (commands,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    # Only the names are others, for the reader of this may have images and containers so called.
    commands = commands.replace("FROM smentry\n", f"FROM {IMAGES[0]}\n").replace(
        "docker build -t my-job", f"docker build -t {IMAGES[1]}"
    )
    commands = re.sub(r"(--name |stop -t 120 |logs |rm |cp )my-job", rf"\1{IMAGES[1]}", commands)
    commands = commands.replace(f"{IMAGES[1]} my-job train", f"{IMAGES[1]} {IMAGES[1]} train")
    try:
        shown = follow(commands, checkout, BASE_IMAGE=base, IMAGE=IMAGES[0])
        end = shown[shown.rindex("SIGTERM came") :]
        # smentry's own lines come through another pipe, and the engine reads both at once.
        assert end.index("saved at step") < end.index("the script's last line")
        assert re.search(r"done in ([3-9]|\d\d)\.\d+ s of 120 s: ", end)
        assert "2 processes ended, 0 orphans reaped, 0 killed; exit code 0" in end
        assert re.search(r'\{"step": \d+\}', end)
    finally:
        docker("rm", "--force", IMAGES[1], check=False)
        docker("rmi", "--force", *IMAGES, check=False)
