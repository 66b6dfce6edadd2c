"""What is read of the kernel's counters: from directory trees as the kernel lays them out, and of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from smentry.pid1.evidence import Baseline

if TYPE_CHECKING:
    from pathlib import Path

CGROUP2 = "30 23 0:26 {top} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw"
CGROUP1 = "81 77 0:32 {top} /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory"
OTHER = "80 77 0:31 / /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw"
EVENTS = "low 0\nhigh 0\nmax 12\noom 1\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
NO_LIMIT = "9223372036854771712"


def lay_out(root: Path, cgroup: str, mounts: str, **files: str) -> None:
    """A root with these files: `cgroup` and `mounts` of /proc/self, others by their path, in which `__` is a slash."""
    named = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts}
    named.update(
        {f"sys/fs/cgroup/{name.replace('__', '/').replace('memory_', 'memory.')}": text for name, text in files.items()}
    )
    for name, text in named.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")


def test_version_2_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    lay_out(
        tmp_path, "0::/", f"{OTHER}\n{CGROUP2.format(top='/')}",
        memory_events=EVENTS.format(2), memory_max="2147483648", memory_peak="2147483000", memory_current="5",
    )  # fmt: skip
    baseline = Baseline(str(tmp_path))
    (tmp_path / "sys/fs/cgroup/memory.events").write_text(EVENTS.format(5))
    found = baseline.evidence()
    assert (found.oom_kills, found.memory_limit, found.memory_peak) == (3, 2 << 30, 2147483000)


def test_version_2_without_a_limit_and_before_there_was_a_peak(tmp_path: Path) -> None:
    lay_out(
        tmp_path, "0::/", CGROUP2.format(top="/"), memory_events=EVENTS.format(0), memory_max="max", memory_current="77"
    )
    found = Baseline(str(tmp_path)).evidence()
    assert (found.oom_kills, found.memory_limit, found.memory_peak) == (0, None, 77)


def test_the_least_limit_counts_of_the_group_and_those_above(tmp_path: Path) -> None:
    lay_out(
        tmp_path, "0::/pod/one", CGROUP2.format(top="/"),
        memory_events=EVENTS.format(9), memory_max="max", pod__memory_max="1000", pod__one__memory_max="5000",
        pod__one__memory_events=EVENTS.format(1), pod__one__memory_peak="999",
    )  # fmt: skip
    found = Baseline(str(tmp_path)).evidence()
    assert (found.oom_kills, found.memory_limit, found.memory_peak) == (0, 1000, 999)


@pytest.mark.parametrize("top", ["/docker/abc", "/"], ids=["the host's names", "names of its own"])
def test_version_1_in_a_container(top: str, tmp_path: Path) -> None:
    lay_out(
        tmp_path, f"5:cpuset:{top}\n4:memory:{top}\n0::{top}", f"{OTHER}\n{CGROUP1.format(top=top)}",
        memory__memory_oom_control=CONTROL.format(0), memory__memory_limit_in_bytes="314572800",
        memory__memory_max_usage_in_bytes="314572800",
    )  # fmt: skip
    baseline = Baseline(str(tmp_path))
    (tmp_path / "sys/fs/cgroup/memory/memory.oom_control").write_text(CONTROL.format(1))
    found = baseline.evidence()
    assert (found.oom_kills, found.memory_limit, found.memory_peak) == (1, 300 << 20, 300 << 20)


def test_version_1_on_the_host_with_its_group_below_the_mount(tmp_path: Path) -> None:
    lay_out(
        tmp_path, "4:cpu,memory:/user/one\n0::/", CGROUP1.format(top="/"),
        memory__memory_oom_control=CONTROL.format(7), memory__memory_limit_in_bytes=NO_LIMIT,
        memory__user__one__memory_oom_control=CONTROL.format(2), memory__user__one__memory_limit_in_bytes=NO_LIMIT,
        memory__user__one__memory_max_usage_in_bytes="4096",
    )  # fmt: skip
    baseline = Baseline(str(tmp_path))
    (tmp_path / "sys/fs/cgroup/memory/user/one/memory.oom_control").write_text(CONTROL.format(3))
    found = baseline.evidence()
    assert (found.oom_kills, found.memory_limit, found.memory_peak) == (1, None, 4096)


def test_a_group_whose_name_the_mount_does_not_hold_is_the_mount_itself(tmp_path: Path) -> None:
    """As with Docker's `--cgroupns=host`: the name is the host's, and what is mounted is the container's."""
    lay_out(
        tmp_path, "0::/docker/abc", CGROUP2.format(top="/.."),
        memory_events=EVENTS.format(0), memory_max="4096", memory_peak="1",
    )  # fmt: skip
    found = Baseline(str(tmp_path)).evidence()
    assert (found.oom_kills, found.memory_limit) == (0, 4096)


@pytest.mark.parametrize("cgroup", ["", "0::/", "4:memory:/x", "nonsense"])
def test_nothing_to_be_seen_is_nothing_said(cgroup: str, tmp_path: Path) -> None:
    if cgroup:
        lay_out(tmp_path, cgroup, "")
    found = Baseline(str(tmp_path)).evidence()
    assert [getattr(found, name) for name in found.__slots__] == [None] * 5


def test_the_room_in_dev_shm(tmp_path: Path) -> None:
    (tmp_path / "dev/shm").mkdir(parents=True)
    found, real = Baseline(str(tmp_path)).evidence(), os.statvfs(tmp_path)
    assert found.shm_size == real.f_blocks * real.f_frsize
    assert found.shm_free is not None
    assert 0 < found.shm_free <= found.shm_size


def test_this_machine_says_something() -> None:
    found = Baseline().evidence()
    if not os.path.exists("/sys/fs/cgroup/memory.events") and not os.path.exists("/sys/fs/cgroup/memory"):
        pytest.skip("no memory control group here")
    assert found.oom_kills == 0
    assert found.memory_peak is None or found.memory_peak > 1 << 20
