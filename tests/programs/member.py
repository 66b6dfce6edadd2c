"""One process of a random program: `member.py ROLE NAME LATE SAVE CODE`.

It installs its handler LATE seconds after its start and then writes `handler.NAME`. When told it writes `told.NAME`,
saves for SAVE seconds, writes `saved.NAME` and exits CODE. Roles: `save`; `work`, which needs two workers alive to
save; `daemon`, which leaves a detached saver behind and sleeps for a second; `ignore`; `fork`, which never stops.
"""

import os
import signal
import sys
import time

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
role, name, late, save, code = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])


def note(what: str) -> None:
    # Without a codec: its first use is an import, and a handler that comes in the middle of that cannot use it either.
    file = os.open(os.path.join(os.environ["STATE"], f"{what}.{name}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, f"{time.monotonic()}\n".encode())
    os.close(file)


def worker() -> int:
    pid = os.fork()
    if pid == 0:
        while os.getppid() == me:
            time.sleep(0.1)
        os._exit(0)
    return pid


def told(_number: int, _frame: object) -> None:
    note("told")
    for number in STOPS:
        signal.signal(number, lambda *_: note("told"))
    until = time.monotonic() + save
    while time.monotonic() < until:
        if any(os.waitpid(pid, os.WNOHANG)[0] for pid in workers):
            note("lost")
            os._exit(99)
        time.sleep(0.02)
    note("saved")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    os._exit(code)


if role == "daemon":
    if os.fork():
        time.sleep(1)
        os._exit(code)
    os.setsid()
    if os.fork():
        os._exit(0)
if role == "ignore":
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)
me = os.getpid()
workers = [worker(), worker()] if role == "work" else []
while role == "fork":
    if os.fork() == 0:
        time.sleep(0.2)
        os._exit(0)
    time.sleep(0.05)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
time.sleep(late)
for number in STOPS:
    signal.signal(number, told)
note("handler")
while True:
    time.sleep(0.05)
