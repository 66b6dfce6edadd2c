"""What the figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path


def description(python: Path) -> dict[str, str]:
    """The machine in words: processor, cores, memory, kernel, the interpreter, the day."""
    said = subprocess.run(
        [
            str(python),
            "-c",
            "import sys, sysconfig; print(sys.version.split()[0], sysconfig.get_config_var('CONFIG_ARGS'))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    version, _, arguments = said.stdout.strip().partition(" ")
    optimised = "" if "--enable-optimizations" in arguments else " (built without --enable-optimizations)"
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "Python": version + optimised,
        "load average": f"{os.getloadavg()[0]:.1f} at the start",
        "day": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
