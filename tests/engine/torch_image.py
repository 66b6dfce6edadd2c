"""The image with PyTorch for the CPU that the engine tests of training run in. It knows how it is made, and no expectations."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .containers import PLAIN, build, docker

VERSION = "2.13.0"
REPOSITORY = "smentry-test-torch"
"""The repository of the images; the tag says what they were built from."""

NEEDED = (f"torch=={VERSION}", "typing_extensions", "sympy", "mpmath", "numpy")
"""What is installed, without what it asks for besides: networkx, jinja2 and others are not imported by what is tested."""

LEFT_OUT = ("torch/include", "torch/test", "bin", "share")
"""For who compiles against it: a fifth of it, and time to copy."""

WARM = """
set -e
python=$(command -v python3)
python3 -c 'import site; open(site.getsitepackages()[0] + "/torch.pth", "w").write("/opt/torch\\n")'
torchrun=${python%/*}/torchrun
printf '#!%s\\nimport sys\\nfrom torch.distributed.run import main\\nsys.exit(main())\\n' "$python" >"$torchrun"
chmod +x "$torchrun"
exec python3 -W ignore -c 'import torch, torch.distributed.run, torch.nn.parallel, torch.utils.data, torch._dynamo'
"""
"""Makes it importable, and compiles what is imported: without that each process takes 8 s to start, not 2."""

DOCKERFILE = """
ARG SMENTRY_IMAGE
ARG TORCH_IMAGE
FROM ${SMENTRY_IMAGE} AS smentry
FROM ${TORCH_IMAGE}
COPY --from=smentry /opt/smentry /opt/smentry
RUN ln -s /opt/smentry/bin/smentry /usr/local/bin/smentry \\
 && ln -s /opt/smentry/lib/python3*/site-packages/smentry /opt/torch/smentry
ENTRYPOINT ["smentry"]
"""
"""smentry as docker/build.sh has installed it, and `smentry.training` for the Python of the job."""


class NoTorchError(Exception):
    """PyTorch cannot be had for the base image, and why."""


def prepare(base: str) -> str:
    """The name of the image: the base image, PyTorch, and smentry as in PLAIN. NoTorchError where PyTorch cannot be had.

    PyTorch is fetched as pip is configured, once, into ${XDG_CACHE_HOME:-~/.cache}/smentry. PyPI's own wheels are for CUDA:
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu names those for the CPU.
    """
    with open(Path(tempfile.gettempdir()) / "smentry-test-torch.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        torch = _torch_image(base)
        smentry = docker("images", "--no-trunc", "--quiet", PLAIN).stdout
        tag = _tag("smentry", torch, smentry, DOCKERFILE)
        if not _exists(tag):
            with tempfile.TemporaryDirectory() as context:
                (Path(context) / "Dockerfile").write_text(DOCKERFILE, encoding="ascii")
                build(tag, Path(context) / "Dockerfile", Path(context), SMENTRY_IMAGE=PLAIN, TORCH_IMAGE=torch)
        _remove_others(torch, tag)
        return tag


def _torch_image(base: str) -> str:
    identity = docker("images", "--no-trunc", "--quiet", base).stdout
    tag = _tag("base", identity, WARM, *NEEDED, *LEFT_OUT)
    if not _exists(tag):
        described = docker(
            "run", "--rm", "--network", "none", "--entrypoint", "python3", base,
            "-c", "import platform, sys; print('%d.%d' % sys.version_info[:2], platform.machine())",
        )  # fmt: skip
        version, machine = described.stdout.split()
        container = docker("create", "--network", "none", "--entrypoint", "sh", base, "-c", WARM).stdout.strip()
        try:
            docker("cp", str(_site(version, machine)), f"{container}:/opt/torch", limit=300)
            warmed = docker("start", "--attach", container, check=False, limit=300)
            if warmed.returncode:
                raise NoTorchError(f"torch {VERSION} cannot be imported in {base}: {warmed.stderr.strip()[-500:]}")
            docker("commit", "--change", 'ENTRYPOINT ["python3"]', container, tag, limit=300)
        finally:
            docker("rm", "--force", container, check=False)
    return tag


def _site(version: str, machine: str) -> Path:
    """A directory with PyTorch for this Python and machine; it is kept for the next time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smentry"
    site = cache / f"torch-{VERSION}-{version}-{machine}-{_digest(*NEEDED, *LEFT_OUT)}"
    if site.is_dir():
        return site
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".torch-") as directory:
        target = Path(directory) / "site"
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
            "install",
            "--target",
            str(target),
        ]
        command += ["--no-deps", "--no-compile", "--only-binary", ":all:", "--python-version", version]
        for platform in ("manylinux2014", "manylinux_2_17", "manylinux_2_28"):
            command += ["--platform", f"{platform}_{machine}"]
        fetched = subprocess.run([*command, *NEEDED], capture_output=True, text=True, timeout=500, check=False)
        if fetched.returncode:
            raise NoTorchError(f"pip has no torch {VERSION} for Python {version}: {fetched.stderr.strip()[-500:]}")
        for part in LEFT_OUT:
            shutil.rmtree(target / part, ignore_errors=True)
        for binary in (target / "torch/bin").iterdir():
            if binary.is_file() and binary.name != "torch_shm_manager":
                binary.unlink()
        target.chmod(0o755)
        target.rename(site)
    return site


def _exists(tag: str) -> bool:
    return docker("image", "inspect", tag, check=False).returncode == 0


def _remove_others(*kept: str) -> None:
    listed = docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).stdout.split()
    for name in set(listed) - set(kept):
        docker("rmi", "--force", name, check=False)


def _tag(kind: str, *parts: str) -> str:
    return f"{REPOSITORY}:{kind}-{_digest(*parts)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
