"""Which packages, files and commands bring an NVIDIA driver. Names only; it knows neither Dockerfiles nor images."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MANAGERS = frozenset(
    ("apt-get", "apt", "aptitude", "yum", "dnf", "microdnf", "tdnf", "zypper", "dpkg", "rpm", "ubuntu-drivers")
)
_INSTALLS = re.compile(r"(?:.*-)?(?:auto)?install|in|-i|-[iU]vh?")

# NVIDIA's CUDA installation guide, "Meta Packages": `cuda`, `cuda-X-Y` and `cuda-runtime` bring the driver; cuda-toolkit,
# cuda-libraries and cuda-compat do not. Debian and Ubuntu: nvidia-graphics-drivers.
_PACKAGE = re.compile(
    r"""(?:
        nvidia-(?:driver|open|headless|kernel|dkms|utils|compute-utils|firmware|smi|libopencl1|opencl-icd|\d{3})(?:[-_:].*)?
      | libnvidia-(?!container|egl-|.*-dev$).+
      | libcuda1(?:-.*)?
      | cuda(?:-\d+-\d+)?
      | cuda-(?:drivers|runtime|demo-suite)(?:-.*)?
      | (?:kmod|akmod|dkms)-nvidia.*
      | xserver-xorg-video-nvidia.*
      | xorg-x11-drv-nvidia.*
    )""",
    re.VERBOSE,
)
_LIBRARY = re.compile(r"(?:.*/)?(?:libcuda\.so|libnvidia-(?!container|egl-)[\w-]+\.so)(?:\.[\d.]+)?")
_ELSEWHERE = ("/stubs/", "/compat/")
"""Where the CUDA toolkit has libraries of these names that are no driver: for linking, and for forward compatibility."""
_INSTALLER = re.compile(r"(?:.*/)?NVIDIA-Linux-.+\.run")
_TOOLKIT_INSTALLER = re.compile(r"(?:.*/)?cuda_.+_linux\.run")


def in_command(words: list[str]) -> Iterator[str]:
    """The words of a simple command that name a driver to be installed."""
    if words[:1] and words[0].rpartition("/")[2] in _MANAGERS and any(_INSTALLS.fullmatch(word) for word in words[1:]):
        if words[0].endswith("ubuntu-drivers"):
            yield words[0]
        for word in words[1:]:
            name = word.rpartition("/")[2] if word.endswith((".deb", ".rpm")) else word
            name = re.split(r"[=/*_]", name, maxsplit=1)[0].removesuffix(":amd64").removesuffix(":i386")
            if _PACKAGE.fullmatch(name):
                yield word
    run = next((word for word in words if _INSTALLER.fullmatch(word) or _TOOLKIT_INSTALLER.fullmatch(word)), "")
    fetched = any(word.rpartition("/")[2] in ("wget", "curl", "rm", "chmod", "ADD", "aws") for word in words[:1])
    if run and not fetched and (_INSTALLER.fullmatch(run) or "--driver" in words):
        yield run


def is_library(path: str) -> bool:
    """Whether a file of this name is a part of the driver."""
    return bool(_LIBRARY.fullmatch(path)) and not any(place in path for place in _ELSEWHERE)
