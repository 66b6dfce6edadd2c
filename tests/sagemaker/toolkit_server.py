"""Runs the real AWS training toolkit again and again: imported once, and forked for each job that a line on stdin asks for.

It runs under a Python that has `sagemaker-training` installed, in the environment that every job gets; a line is a JSON object of
further variables. The answer is a line with the job's exit code. What the toolkit and its program say goes to the file $SAID.
"""

import json
import os
import sys

from sagemaker_training import trainer


def run(variables):
    os.environ.update(variables)
    said = os.open(os.environ.pop("SAID"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(said, 1)
    os.dup2(said, 2)
    trainer.train()


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    answers.write("ready\n")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run(json.loads(line))
            except SystemExit as end:
                code = end.code or 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
