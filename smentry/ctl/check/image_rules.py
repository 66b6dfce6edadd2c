"""The rules for Dockerfiles and images (SM1xx), and for what only an image shows (SM2xx): their texts."""

from __future__ import annotations

from smentry.ctl.check.finding import Rule

RULES = (
    Rule(
        "SM101",
        "ENTRYPOINT in shell form",
        "PID 1 is `/bin/sh -c`, and the program its child. The platform's SIGTERM goes to PID 1 alone, so the "
        "program never receives it: it trains on until SIGKILL, 120 s later, and what it had not saved is lost. "
        "`train` and `serve` do not reach it either.",
        'Write it in exec form, as a JSON list: `ENTRYPOINT ["smentry", "--train", "python3 /app/train.py"]`.',
    ),
    Rule(
        "SM102",
        "ENTRYPOINT through sh -c",
        "PID 1 is a shell that waits for the program. The platform's SIGTERM goes to PID 1 alone: a shell does "
        "not pass it on, and the program trains on until SIGKILL. `train` or `serve` becomes `$0` of the shell, "
        "which nobody looks at.",
        "Name the program itself, or let the last command of the shell be `exec PROGRAM`. smentry before the "
        'shell passes signals on to the program: `ENTRYPOINT ["smentry", "--train", "sh -c \'…\'"]`.',
    ),
    Rule(
        "SM103",
        "tini, dumb-init or catatonit is handed train",
        "The platform runs `docker run IMAGE train`. These inits take `train` for a program to execute, which is "
        "not there, or hand it on to the program behind them as an argument that it did not expect.",
        'Use smentry, which does what they do and understands `train` and `serve`: `ENTRYPOINT ["smentry", '
        '"--train", "python3 /app/train.py"]`. Or put an executable called `train` on PATH behind `ENTRYPOINT '
        '["tini", "--"]`.',
    ),
    Rule(
        "SM104",
        "no ENTRYPOINT, and no train or serve",
        "Without an ENTRYPOINT the platform looks for an executable called `train` (or `serve`) on the image's "
        "PATH. There is none: the container cannot be started, and the job fails before a line of it has run.",
        'Add `ENTRYPOINT ["smentry", "--train", "python3 /app/train.py"]`, or put an executable `train` on PATH; '
        "or name the program in each request (ContainerEntrypoint), and ignore this rule.",
    ),
    Rule(
        "SM105",
        "CMD is never used",
        "`docker run IMAGE train` replaces CMD with `train` (hosting: with `serve`). What CMD names is neither "
        "run nor handed on; it is used where the image is started by hand, so that the image behaves differently "
        "there.",
        'Put the program into ENTRYPOINT, and defaults into the program: `ENTRYPOINT ["smentry", "--train", '
        '"python3 /app/train.py --epochs 10"]`. `CMD ["train"]` is fine: it is what the platform says.',
    ),
    Rule(
        "SM106",
        "data or code under /opt/ml in the image",
        "The platform mounts its own directories over `/opt/ml`. What the image has there may be hidden when the "
        "container runs, although it is there under `docker run` on your machine.",
        "Copy code and data elsewhere, such as `/app`. What the job is to find under `/opt/ml` comes through a "
        "channel. Code in `/opt/ml/code` is left alone where the image follows the training toolkit "
        "(SAGEMAKER_PROGRAM).",
    ),
    Rule(
        "SM107",
        "VOLUME under /opt/ml",
        "`/opt/ml` is reserved for the platform's mounts. A volume there is a mount of its own over them: a model "
        "or checkpoint that is written into it can end with the container instead of in S3.",
        "Remove the VOLUME instruction. The platform brings the directories; on your machine use `docker run "
        "--volume`.",
    ),
    Rule(
        "SM108",
        "NVIDIA driver in the image",
        "Drivers (`libcuda.so`, `libnvidia-*`) are mounted from the host by the NVIDIA container runtime. A "
        "second one in the image, of another version, is found first or gets in the way: CUDA fails with a "
        "driver/library version mismatch, or finds no GPU.",
        "Install the CUDA toolkit only: `cuda-toolkit-12-6` or `cuda-libraries-12-6` instead of `cuda`, or build "
        "on `nvidia/cuda:…-runtime`. Remove `nvidia-driver-*`, `cuda-drivers`, `libcuda1` and `libnvidia-*`.",
    ),
    Rule(
        "SM109",
        "STOPSIGNAL is not what the platform sends",
        "The platform sends SIGTERM, whatever STOPSIGNAL says. A program that saves its checkpoint on another "
        "signal is never asked.",
        'Remove the line. Where the program wants another signal: `ENTRYPOINT ["smentry", "--rewrite", '
        '"TERM:QUIT", …]`.',
    ),
    Rule(
        "SM110",
        "a shell script as PID 1 runs its program without exec",
        "PID 1 is the shell, which waits for the program and passes nothing on. The platform's SIGTERM goes to "
        "PID 1 alone: the program trains on until SIGKILL, 120 s later.",
        "Write `exec` before the last command, or put smentry before the script, which finds the program behind a "
        'shell: `ENTRYPOINT ["smentry", "--train", "/app/entrypoint.sh"]`.',
    ),
    Rule(
        "SM111",
        "exec form that is not JSON",
        "Docker takes what is not a JSON list of strings in double quotes for shell form, brackets and all: "
        "`/bin/sh` is asked to run `[python,`. The container ends with 127 as soon as it starts.",
        'Write a JSON list: double quotes, commas between, none after the last: `ENTRYPOINT ["python3", '
        '"/app/train.py"]`.',
    ),
    Rule(
        "SM201",
        "the image has no such program",
        "What ENTRYPOINT names, or the interpreter in its `#!` line, is not in the image: the container cannot be "
        "started, and the job fails before a line of it has run.",
        "Correct the path, or install the program in the image's last stage; a name without a slash must be on "
        "the image's PATH.",
    ),
)
