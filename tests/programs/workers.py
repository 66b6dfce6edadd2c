"""A program with $WORKERS (3) worker processes that die of SIGTERM, which it needs alive to save."""

import os
import signal
import sys
import time

import state


def work(requests: int, answers: int) -> None:
    while os.read(requests, 1):
        os.write(answers, b".")
    os._exit(0)


def start_worker() -> tuple:
    requests, ask = os.pipe()
    answer, answers = os.pipe()
    pid = os.fork()
    if pid == 0:
        for _, other_ask, other_answer in workers:
            os.close(other_ask)
            os.close(other_answer)
        os.close(ask)
        os.close(answer)
        work(requests, answers)
    os.close(requests)
    os.close(answers)
    return pid, ask, answer


def answers_to(ask: int, answer: int) -> bool:
    try:
        os.write(ask, b"?")
        return os.read(answer, 1) == b"."
    except BrokenPipeError:
        return False


def save(number: int, _frame: object) -> None:
    state.add("told", signal.Signals(number).name)
    until = time.monotonic() + state.SECONDS
    while time.monotonic() < until:
        for pid, ask, answer in workers:
            if not answers_to(ask, answer):
                state.note("lost", f"worker {pid} is dead")
                sys.exit(1)
        time.sleep(0.01)
    state.note("saved", signal.Signals(number).name)
    for _, ask, _answer in workers:
        os.close(ask)
    for pid, _, _answer in workers:
        os.waitpid(pid, 0)
    sys.exit(0)


workers: list = []
while len(workers) < int(os.environ.get("WORKERS", "3")):
    workers.append(start_worker())  # each closes its ends of the pipes of those before it
for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(stop, save)
state.ready()
while True:
    time.sleep(0.05)  # not pause(): a signal just before it would wait for the next one
