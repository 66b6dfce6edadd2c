"""smentry for many starts: loads it once, and forks for each line of stdin, JSON of argv, environment, directory, out, err.

Most of what a start costs is loading Python and the modules; a command line that is refused is done in a tenth of it. Writes
the exit code of each as a line.
"""

import gc
import json
import os
import signal
import sys

from smentry import cli, config, configfile, dryrun, fields, hookfile, job, outcome, processfile, run, yamlfile


def start(argv: list, environment: dict, directory: str, out: str, err: str) -> None:
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["smentry", *argv]
    cli.main(signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))


assert all((config, configfile, dryrun, fields, hookfile, job, outcome, processfile, run, yamlfile))
gc.freeze()  # or the children would copy its pages to mark them
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        start(*json.loads(line))
    _, status = os.waitpid(pid, 0)
    print(status >> 8 if os.WIFEXITED(status) else 128 + os.WTERMSIG(status), flush=True)
