from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from smentry.sagemaker import hardware

if TYPE_CHECKING:
    from pathlib import Path

HERE = len(os.sched_getaffinity(0))


def lay_out(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(root)


# -- CPUs ----------------------------------------------------------------------------------------------


def test_the_cpus_are_those_of_the_affinity(tmp_path: Path) -> None:
    assert hardware.cpus(str(tmp_path)) == HERE
    program = "import os; from smentry.sagemaker import hardware\n"
    program += "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(hardware.cpus('/no/such'))"
    assert subprocess.check_output([sys.executable, "-c", program]) == b"1\n"


V2 = "0::/\n"
V1 = "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, HERE),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "100000000 100000\n"}, HERE),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "nonsense\n"}, HERE),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "100000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "900000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "20000 100000\n",
            },
            1,
        ),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "70000\n",
          "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, 1),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, HERE),
    ],
)  # fmt: skip
def test_a_quota_counts_rounded_up(files: dict[str, str], count: int, tmp_path: Path) -> None:
    assert hardware.cpus(lay_out(tmp_path, files)) == count


@pytest.mark.parametrize(("quota", "cpus"), [("150000 100000", 2), ("100001 100000", 2), ("100000 100000", 1)])
def test_a_part_of_a_cpu_is_one(quota: str, cpus: int, tmp_path: Path) -> None:
    root = lay_out(tmp_path, {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": quota})
    assert hardware.cpus(root) == min(HERE, cpus)


# -- GPUs ----------------------------------------------------------------------------------------------


def machine(root: Path, *, driver: int = 0, devices: int = 0) -> str:
    (root / "dev").mkdir()
    for number in range(driver):
        (root / f"proc/driver/nvidia/gpus/0000:00:{number:02x}.0").mkdir(parents=True)
    for name in [*(f"nvidia{number}" for number in range(devices)), "nvidiactl", "nvidia-uvm", "nvidia-caps", "null"]:
        (root / "dev" / name).touch()
    return str(root)


@pytest.mark.parametrize(
    ("driver", "devices", "count"), [(0, 0, 0), (8, 0, 8), (0, 4, 4), (8, 8, 8), (8, 2, 2), (1, 8, 1)]
)
def test_gpus_are_those_that_driver_and_devices_agree_on(driver: int, devices: int, count: int, tmp_path: Path) -> None:
    assert hardware.gpus({}, machine(tmp_path, driver=driver, devices=devices)) == count


@pytest.mark.parametrize(
    ("visible", "count"),
    [("all", 4), ("", 4), ("none", 4), ("void", 4), ("0", 1), ("0,2", 2), ("GPU-a,GPU-b,GPU-c", 3), ("0,1,2,3,4,5", 4)],
)
def test_a_list_of_visible_gpus_is_believed(visible: str, count: int, tmp_path: Path) -> None:
    assert hardware.gpus({"NVIDIA_VISIBLE_DEVICES": visible}, machine(tmp_path, devices=4)) == count


# -- Neuron cores --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance_type", "devices", "cores"),
    [
        ("ml.m5.large", 0, 0),
        ("ml.inf1.6xlarge", 4, 16),
        ("ml.inf2.xlarge", 1, 2),
        ("ml.trn1.32xlarge", 16, 32),
        ("trn1n.32xlarge", 16, 32),
        ("ml.trn2.3xlarge", 1, 4),
        ("local", 1, 2),
        ("ml.trn2.48xlarge", 0, 64),
    ],
)
def test_without_sysfs_the_instance_type_says_how_many_cores_a_device_has(
    instance_type: str, devices: int, cores: int, tmp_path: Path
) -> None:
    lay_out(tmp_path, {f"dev/neuron{number}": "" for number in range(devices)})
    assert hardware.neurons(instance_type, str(tmp_path)) == cores


def test_sysfs_says_how_many_cores_a_device_has(tmp_path: Path) -> None:
    tree = "sys/devices/virtual/neuron_device"
    files = {f"dev/neuron{number}": "" for number in range(3)}
    files[f"{tree}/neuron0/core_count"] = "8\n"
    files[f"{tree}/neuron1/neuron_core0/info"] = files[f"{tree}/neuron1/neuron_core1/info"] = ""
    assert hardware.neurons("ml.trn1.2xlarge", lay_out(tmp_path, files)) == 8 + 2 + 2
