"""Jobs by `smentryctl run`, and programs for them. It knows the command line and what may be left, and no expectations."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from typing import TYPE_CHECKING, Any

from running import LIMIT, wait_until

from .containers import ROOT, docker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CODE = "/opt/ml/input/data/code"

SAVER = """
import os, signal, sys, time
def stop(number, frame):
    os.write(1, f"got {signal.Signals(number).name}\\n".encode())  # print may be interrupted, and cannot be entered twice
    open("/opt/ml/model/weights", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open("/opt/ml/output/data/log", "w").write("half")
before = sorted(os.listdir("/opt/ml/checkpoints"))
open(f"/opt/ml/checkpoints/step-{len(before)}", "w").write("state")
print("started", *before, os.path.exists("/opt/ml/model/early"), flush=True)
open("/opt/ml/model/early", "w").close()
if len(before) > 1:
    sys.exit(0)
while True:
    time.sleep(60)
"""

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
while True:
    time.sleep(60)
"""

PARTLY = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(("", 8000))
if socket.gethostname() == "algo-2":
    server.accept()  # algo-1 has seen that the signal is ignored
    time.sleep(60)
for _ in range(200):
    try:
        socket.create_connection(("algo-2", 8000), 5)
        sys.exit(3)
    except OSError:
        time.sleep(0.1)
"""

FAILING = """
import os, sys
os.makedirs("/opt/ml/output/data", exist_ok=True)
open("/opt/ml/output/data/why", "w").write("because")
open("/opt/ml/model/half", "w").write("half")
open("/opt/ml/output/failure", "w").write("ö" * 2000)
sys.exit(7)
"""

NAMES = """
import json, socket, sys, time
me = socket.gethostname()
server = socket.create_server(("", 8000))
other = next(host for host in json.load(open("/opt/ml/input/config/resourceconfig.json"))["hosts"] if host != me)
for _ in range(200):
    try:
        there = socket.create_connection((other, 8000), 5)
        break
    except OSError:
        time.sleep(0.1)
here, _ = server.accept()
there.sendall(me.encode())
print(me, "heard", here.recv(100).decode(), flush=True)
open(f"/opt/ml/model/of-{me}", "w").write(me)
open("/opt/ml/model/same", "w").write(me)
"""

CHATTER = """
import sys
sys.stdout.write("".join(f"line {n}\\n" for n in range(20000)))
sys.stdout.buffer.write(b"\\xff no end")
"""

STUBBORN = """
import os
for path in ("/opt/ml/model/deep/er", "/opt/ml/output/data/mine"):
    os.makedirs(path)
    open(f"{path}/file", "w").write("root's")
    os.chmod(f"{path}/file", 0o400)
    os.chmod(path, 0o500)
os.chmod("/opt/ml/model/deep", 0o700)
os.chmod("/opt/ml", 0o700)
"""

PROBE = """
import json, os, signal, stat, sys, time
MEMORY = "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"
got = []
def told(number, frame):
    got.append(signal.Signals(number).name)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, told)
def status(key):
    return next(line.split()[1] for line in open("/proc/1/status") if line.startswith(key))
tree = {}
for here, directories, files in os.walk("/opt/ml"):
    for name in [".", *files] if here != "/opt/ml/model" else ["."]:
        path = os.path.normpath(os.path.join(here, name))
        found = os.lstat(path)
        content = open(path).read() if stat.S_ISREG(found.st_mode) else ""
        tree[path] = [stat.filemode(found.st_mode), found.st_uid, found.st_gid, content]
seen = {
    "argv": sys.argv[1:],
    "parent": os.getppid(),
    "cwd": os.getcwd(),
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "environment": {name: text for name, text in os.environ.items()},
    "tree": tree,
    "mounts": sorted(line.split()[4:6] for line in open("/proc/self/mountinfo") if "/opt/ml" in line.split()[4]),
    "signals": {key: status(key) for key in ("SigBlk", "SigIgn")},
    "capabilities": {key: status(key) for key in ("CapPrm", "CapEff", "CapBnd")},
    "seccomp": status("Seccomp:"),
    "stdin": os.readlink("/proc/self/fd/0"),
    "terminal": os.isatty(1),
    "hostname": os.uname().nodename,
    "hosts": [line.split()[1:] for line in open("/etc/hosts")],
    "umask": status("Umask"),
    "limits": open("/proc/1/limits").read(),
    "oom": open("/proc/1/oom_score_adj").read(),
    "memory": [open(path).read() for path in MEMORY if os.path.exists(path)],
    "devices": sorted(os.listdir("/dev")),
    "shared memory": os.statvfs("/dev/shm").f_blocks,
    "session": [os.getsid(0), os.getpgrp() == os.getpid()],
    "file systems": sorted(line.split()[4] for line in open("/proc/self/mountinfo")),
    "read-only": sorted(line.split()[4] for line in open("/proc/self/mountinfo") if line.split()[5].startswith("ro")),
}
print("ready", flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.3)
seen["got"] = got
json.dump(seen, open("/opt/ml/model/seen", "w"))
os._exit(5)
"""

PROGRAMS = {
    "saver.py": SAVER,
    "deaf.py": DEAF,
    "partly.py": PARTLY,
    "failing.py": FAILING,
    "names.py": NAMES,
    "chatter.py": CHATTER,
    "stubborn.py": STUBBORN,
    "probe.py": PROBE,
}


class Ran:
    """A `smentryctl run` that is under way, or has ended."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        self.out: list[str] = []
        self.err: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=into.extend, args=(stream,))
            for into, stream in ((self.out, self.process.stdout), (self.err, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def saw(self, text: str) -> None:
        """Wait until the log has had a text."""
        wait_until(lambda: text in "".join(self.out) or self.process.poll() is not None, f"{text!r} in the log")
        wait_until(lambda: text in "".join(self.out), f"{text!r} in {self.out}{self.err}", 1)

    def end(self, limit: float = LIMIT) -> int:
        """Its exit code, when it has ended."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended after {limit:g} s; it said {self.out}{self.err}") from None
        for reader in self._readers:
            reader.join()
        self.close()
        return code

    def close(self) -> None:
        """Kill it where it runs."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def host(self, name: str = "algo-1") -> list[str]:
        """What a host wrote."""
        return [line.rstrip("\n").partition("| ")[2] for line in self.out if line.startswith(f"{name} |")]

    @property
    def said(self) -> str:
        """The result for people, and the host's lines."""
        return "".join(self.out)


class Jobs:
    """Runs jobs under a name of their own, with what is left of them easy to find."""

    def __init__(self, image: str, directory: Path) -> None:
        self.image = image
        self.directory = directory
        self.name = f"test-{os.getpid()}-{re.sub('[^a-z0-9]+', '-', directory.name.lower())}"[:60].rstrip("-")
        self.output = directory / "out"
        self.scratch = directory / "scratch"
        self.scratch.mkdir()
        code = directory / "code"
        code.mkdir()
        for name, text in PROGRAMS.items():
            (code / name).write_text(text)
        self._started: list[Ran] = []

    def request(
        self, program: str | None = None, *, hosts: int = 1, image: str | None = None, **more: Any
    ) -> dict[str, Any]:
        algorithm = {"TrainingImage": image or self.image, "TrainingInputMode": "File"}
        entrypoint = (
            {"ContainerEntrypoint": ["python3"], "ContainerArguments": [f"{CODE}/{program}"]} if program else {}
        )
        source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/code"}
        return {
            "TrainingJobName": self.name,
            "AlgorithmSpecification": {**algorithm, **entrypoint, **more.pop("algorithm", {})},
            "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
            "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 100},
            **more,
        }

    def start(self, request: dict[str, Any], *words: str, before: Sequence[str] = ()) -> Ran:
        path = self.directory / "request.json"
        path.write_text(json.dumps(request))
        command = [
            sys.executable,
            "-m",
            "smentry.ctl",
            "run",
            str(path),
            "--s3",
            f"s3://bucket/code={self.directory / 'code'}",
        ]
        environment = {**os.environ, "TMPDIR": str(self.scratch), "PYTHONPATH": str(ROOT)}
        ran = Ran([*before, *command, "--output", str(self.output), *words], env=environment, cwd=self.directory)
        self._started.append(ran)
        return ran

    def run(self, program: str | None = None, *words: str, **more: Any) -> Ran:
        """Run a program of the channel to the job's end; see `request` for `more`. The exit code is in `process`."""
        ran = self.start(self.request(program, **more), *words)
        ran.end()
        return ran

    def artifact(self, name: str) -> dict[str, str]:
        """The files of an artifact."""
        with tarfile.open(self.output / name) as archive:
            found = {member.name: archive.extractfile(member) for member in archive}
            return {name: file.read().decode() for name, file in found.items() if file is not None}

    def left(self) -> list[str]:
        """Containers, networks and files of these jobs."""
        named = ("--filter", f"name=smentryctl-{self.name}", "--format", "{{.Names}}")
        containers = docker("ps", "--all", *named).stdout.split()
        networks = docker("network", "ls", *named[:2], "--format", "{{.Name}}").stdout.split()
        return [*containers, *networks, *(path.name for path in self.scratch.iterdir())]

    def close(self) -> None:
        for ran in self._started:
            if ran.process.poll() is None:
                ran.close()
        for name in self.left():
            docker("rm", "--force", name, check=False)
            docker("network", "rm", name, check=False)
