"""Imports its argument, a program, once, and runs the `main` of it in processes that are forked from this one.

Each line of stdin is JSON, a list of pairs: what to add to the environment, and what to hand to `main`. They run at once;
the answer on stdout is the list of their exit codes.
"""

import importlib
import json
import multiprocessing
import os
import sys


def run(program, environment, asked):
    os.environ.update(environment)
    program.main(asked)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    program = importlib.import_module(sys.argv[1])
    context = multiprocessing.get_context("fork")
    for line in sys.stdin:
        processes = [context.Process(target=run, args=(program, *pair)) for pair in json.loads(line)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print(json.dumps([process.exitcode for process in processes]), file=answers, flush=True)
