"""Runs copies, each in a forked process of its own as a hook is, and says how they went: JSON lines in, JSON lines out.

A request has the arguments of a Copy, and what to do to its process: `uid` to run as, `seconds` until its deadline,
`kill` after so many seconds, `kill_child` as soon as it has one, `refuse` system calls ({number: errno}), `processes`
that it may have.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import time

from smentry import copy
from smentry.pid1.hooks import Copy


def refuse(calls: dict[str, int]) -> None:
    """Let the kernel answer these system calls with these errors (seccomp(2))."""
    load, equal, end = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    program = [(load, 0, 0, 0)]
    for number, error in calls.items():
        program += [(equal, 0, 1, int(number)), (end, 0, 0, 0x00050000 | error)]
    program.append((end, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    filters = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if libc.prctl(22, 2, ctypes.byref(filters), 0, 0) != 0:  # PR_SET_SECCOMP
        raise OSError(ctypes.get_errno(), "no seccomp")


def serve(request: dict[str, object], answers: int) -> None:
    said: list[str] = []
    answer: dict[str, object] = {"said": said, "error": None}
    options = {name: request.pop(name, None) for name in ("uid", "seconds", "refuse", "processes", "ended")}
    seconds = options["seconds"]
    try:
        if options["uid"]:
            os.setgroups([])
            os.setgid(options["uid"])
            os.setuid(options["uid"])
        if options["processes"]:
            resource.setrlimit(resource.RLIMIT_NPROC, (options["processes"], options["processes"]))
        if options["refuse"]:
            refuse(options["refuse"])
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        copy.run(Copy(**request), ended=options["ended"], deadline=deadline, say=said.append)
    except copy.CopyError as error:
        answer["error"] = str(error)
        answer["kind"] = "refused"
    except BaseException as error:
        answer["error"] = f"{type(error).__name__}: {error}"
        answer["kind"] = "defect"
    os.write(answers, json.dumps(answer).encode())


def children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


for line in sys.stdin:
    request = json.loads(line)
    kill, kill_child = request.pop("kill", None), request.pop("kill_child", False)
    reading, writing = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        serve(request, writing)
        os._exit(0)
    os.close(writing)
    while kill_child:
        for child in children(pid):
            os.kill(child, signal.SIGKILL)
            kill_child = False
    if kill is not None and not select.select([reading], [], [], kill)[0]:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)  # before it has made its group
    _, status = os.waitpid(pid, 0)
    data = b""
    while part := os.read(reading, 65536):
        data += part
    os.close(reading)
    answer = json.loads(data) if data else {"said": [], "error": None}
    answer["killed"] = os.WIFSIGNALED(status)
    answer["seconds"] = time.monotonic() - started
    print(json.dumps(answer), flush=True)
