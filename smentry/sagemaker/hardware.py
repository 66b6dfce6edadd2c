"""How many CPUs, GPUs and Neuron cores a container has, read from files. It starts no program and knows no libraries."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CORES = {"inf1": 4, "inf2": 2, "trn1": 2, "trn1n": 2, "trn2": 4, "trn2u": 4}
"""NeuronCores of a device, by the instance's family, where sysfs does not say: those that a program sees, which on trn2 are half
of the physical ones (the Neuron documentation's "logical NeuronCore configuration")."""

_TRN2, _TRN2_CORES = "trn2.48xlarge", 64
"""The training toolkit's own exception: 16 devices of 4 logical cores."""


# -- CPUs ------------------------------------------------------------------------------------------


def cpus(root: str = "/") -> int:
    """The CPUs that this process may use: those of its affinity, but no more than its cgroup's quota, rounded up."""
    count = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return count if quota is None else max(1, min(count, quota))


def _quota(root: str) -> int | None:
    """CPUs of the lowest quota from this cgroup up to the topmost that can be seen, None where there is none."""
    mount = os.path.join(root, "sys/fs/cgroup")
    least = None
    for controllers, path in _cgroups(root):
        if controllers == "":  # cgroups(7): the line of version 2
            directory, read = mount, _quota_2
        elif "cpu" in controllers.split(","):
            directory, read = os.path.join(mount, "cpu"), _quota_1
        else:
            continue
        # In a container without a cgroup namespace the path is the host's, and only the top of the mount is there.
        while True:
            quota = read(os.path.join(directory, path))
            if quota is not None and (least is None or quota < least):
                least = quota
            if not path:
                break
            path = os.path.dirname(path)
    return least


def _cgroups(root: str) -> list[tuple[str, str]]:
    """Controllers and path, without the first slash, of each hierarchy."""
    found = []
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            found.append((parts[1], parts[2].strip("/")))
    return found


def _quota_2(directory: str) -> int | None:
    quota, _, period = _read(os.path.join(directory, "cpu.max")).strip().partition(" ")
    return _divided(quota, period)


def _quota_1(directory: str) -> int | None:
    quota = _read(os.path.join(directory, "cpu.cfs_quota_us")).strip()
    return _divided(quota, _read(os.path.join(directory, "cpu.cfs_period_us")).strip())


def _divided(quota: str, period: str) -> int | None:
    """Microseconds of CPU time in each period, as CPUs; `max` and -1 are no quota."""
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return -(-int(quota) // int(period))


# -- GPUs ------------------------------------------------------------------------------------------


def gpus(environment: Mapping[str, str], root: str = "/") -> int:
    """The NVIDIA GPUs that the container was given.

    The driver has a directory for each in /proc/driver/nvidia/gpus, and each has a device /dev/nvidiaN. The container runtime
    hides those not given from one, the other or both: the smaller number counts. NVIDIA_VISIBLE_DEVICES is what the runtime goes
    by; only a list is believed, for `none` and `void` are also how a device plugin keeps the runtime out of its own work.
    """
    known = len(_names(os.path.join(root, "proc/driver/nvidia/gpus")))
    devices = len([name for name in _names(os.path.join(root, "dev")) if _is_numbered(name, "nvidia")])
    count = min(known, devices) if known and devices else known or devices
    listed = [word for word in environment.get("NVIDIA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    if listed and listed[0].strip() not in ("all", "none", "void"):
        count = min(count, len(listed))
    return count


# -- Neuron cores ----------------------------------------------------------------------------------


def neurons(instance_type: str, root: str = "/") -> int:
    """The NeuronCores of the devices /dev/neuronN.

    Each device's are in sysfs (the Neuron documentation's "Neuron Sysfs User Guide"); without it the instance type decides.
    """
    if _TRN2 in instance_type:
        return _TRN2_CORES
    family = instance_type[3:] if instance_type.startswith("ml.") else instance_type
    usual = _CORES.get(family.partition(".")[0], 2)
    devices = [name for name in _names(os.path.join(root, "dev")) if _is_numbered(name, "neuron")]
    return sum([_cores(os.path.join(root, "sys/devices/virtual/neuron_device", name)) or usual for name in devices])


def _cores(directory: str) -> int:
    text = _read(os.path.join(directory, "core_count")).strip()
    if text.isdigit():
        return int(text)
    return len([name for name in _names(directory) if _is_numbered(name, "neuron_core")])


def _is_numbered(name: str, stem: str) -> bool:
    return name.startswith(stem) and name[len(stem) :].isdigit()


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
