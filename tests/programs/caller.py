"""An init whose start hooks call functions: `caller.py [own:]FUNCTION... -- COMMAND`."""

import _signal
import os
import sys

mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())

from smentry.pid1.hooks import START, Hook  # noqa: E402
from smentry.pid1.process import Identity, Program, StartError  # noqa: E402
from smentry.pid1.state import Plan  # noqa: E402
from smentry.pid1.stderr import Log  # noqa: E402
from smentry.pid1.supervisor import supervise  # noqa: E402

STATE = os.environ["STATE"]


def note(text):
    with open(os.path.join(STATE, "log"), "a") as file:
        file.write(text + "\n")


def well(say):
    say("all is well")
    note(f"uid {os.geteuid()} in {os.environ.get('SMENTRY_EVENT')}")
    return 0


def fails(say):
    say("it is not there")
    return 7


def raises(say):
    raise KeyError("two\nlines")


def leaves(say):
    raise SystemExit("gone")


def becomes(say):
    os.execv("/bin/sh", ["sh", "-c", "echo become; exit 5"])


def waits(say):
    note("waiting")
    say("waiting")
    while True:
        _signal.pause()


def changed():
    note("settled")
    return Program(["/bin/sh", "-c", "echo settled >>$STATE/log"], {**os.environ, "CHANGED": "1"})


def refused():
    raise StartError(126, "there is nothing to start")


words = sys.argv[1 : sys.argv.index("--")]
command = sys.argv[sys.argv.index("--") + 1 :]
identity = Identity(65534, 65534, [65534]) if os.environ.get("OTHER") else None
settle = globals().get(os.environ.get("SETTLE", ""))
hooks = [
    Hook(START, word.rpartition(":")[2], call=globals()[word.rpartition(":")[2]], own=word.startswith("own:"), required=True,
         timeout=float("inf"))
    for word in words
]  # fmt: skip
report = supervise(
    Program(command, dict(os.environ), identity=identity, settle=settle),
    Plan(10, 1, hooks=hooks, linger=1),
    log=Log(),
    mask=mask,
)
with open(os.path.join(STATE, "refusal"), "w") as file:
    file.write(report.refusal)
os._exit(report.code)
