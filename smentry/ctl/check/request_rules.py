"""The rules for requests (SM3xx), scripts (SM4xx) and smentry's own settings (SM5xx): their texts."""

from __future__ import annotations

from smentry.ctl.check.finding import Rule

_REQUESTS = (
    Rule(
        "SM301",
        "the service refuses the request",
        "CreateTrainingJob answers with a ValidationException and starts nothing, or the AWS CLI refuses the request "
        "before it is sent: something required is not there, a name is not known, a value has the wrong type, is too "
        "long or is none of those allowed. The constraints are those of the service model that botocore brings; what "
        "is no JSON or YAML, or has a key twice, is here too.",
        "The message names the path, what is there and what was expected. Numbers among hyperparameters and variables "
        'have to be text: `"epochs": "10"`.',
    ),
    Rule(
        "SM302",
        "a script's channel is not in File mode",
        "In Pipe mode there is no directory that a script could lie in. The documentation asks for File mode for a "
        "channel with an entrypoint script, so FastFile mode is no place for it either. A channel without an "
        "InputMode has the job's TrainingInputMode.",
        'Give the channel `"InputMode": "File"`; the others stay as they are.',
    ),
    Rule(
        "SM303",
        "a script's channel is not whole on every host",
        "ShardedByS3Key gives each instance a part of the objects, so that one of them gets the script and the others "
        "fail with `no such file`. InstanceGroupNames keeps the channel from the instances of all other groups.",
        'Write `"S3DataDistributionType": "FullyReplicated"`, and leave InstanceGroupNames out of the script\'s '
        "channel.",
    ),
    Rule(
        "SM304",
        "a script in a channel that the request does not have",
        "A channel is `/opt/ml/input/data/NAME` in the container only where InputDataConfig has one of that "
        "ChannelName. The script is not found, and the job fails as soon as its container has started.",
        "Add the channel, or correct its name; capitals count.",
    ),
    Rule(
        "SM305",
        "a channel's script is executed by itself",
        "S3 keeps no mode bits: a script that came through a channel is not executable, and the container ends with "
        "`permission denied`.",
        'Let smentry run it, which follows its `#!` line: `"ContainerEntrypoint": ["smentry"]` with '
        '`"ContainerArguments": ["--script", "NAME/custom_entrypoint.sh"]`. Without smentry, name the interpreter '
        "before it.",
    ),
    Rule(
        "SM306",
        "two channels of one name",
        "A channel's name is that of its directory: two channels cannot share it, and the service refuses the request.",
        "Give each channel a ChannelName of its own.",
    ),
    Rule(
        "SM307",
        "what only Pipe mode knows, in another mode",
        "CompressionType Gzip and RecordWrapperType RecordIO say how Pipe mode hands the objects on; elsewhere the "
        "files arrive as they lie in S3, compressed and unwrapped. An AugmentedManifestFile can only be used in Pipe "
        "mode.",
        'Set `"InputMode": "Pipe"`, or leave the member out and let the program decompress; name the objects by '
        "S3Prefix or ManifestFile.",
    ),
    Rule(
        "SM308",
        "members that do not go together",
        "The service model allows each of them, and the service not both: TrainingImage with AlgorithmName, or "
        "neither of them; InstanceType or InstanceCount beside InstanceGroups; a channel for an instance group that "
        "the job does not have.",
        "Keep one of them. InstanceGroupNames are those in ResourceConfig.InstanceGroups.",
    ),
    Rule(
        "SM310",
        "a spot job that keeps no checkpoints",
        "Managed spot training may interrupt the job at any time, with SIGTERM and 120 s, and starts it anew later. "
        "Without CheckpointConfig `/opt/ml/checkpoints` is empty then: all of the training begins again, and may "
        "never come to its end.",
        'Add `"CheckpointConfig": {"S3Uri": "s3://BUCKET/PREFIX"}`, let the program write its checkpoints to '
        "`/opt/ml/checkpoints`, and go on from what it finds there.",
    ),
    Rule(
        "SM311",
        "MaxWaitTimeInSeconds does not fit",
        "A spot job needs MaxWaitTimeInSeconds, the time of waiting and training together, which is at least "
        "MaxRuntimeInSeconds: 86400 where that is not given. A job without EnableManagedSpotTraining may not have it. "
        "The service refuses the request otherwise.",
        "Set MaxWaitTimeInSeconds to MaxRuntimeInSeconds or more for a spot job, and leave it out for any other.",
    ),
    Rule(
        "SM312",
        "a KMS key for a directory bucket",
        "Output to an S3 Express One Zone directory bucket (its name ends in `--x-s3`) is encrypted with SSE-S3 only. "
        "The model cannot be uploaded with a KMS key.",
        "Leave KmsKeyId out, or write the output to a general purpose bucket.",
    ),
    Rule(
        "SM320",
        "a shell is PID 1",
        "The platform sends SIGTERM to PID 1 alone. A shell hands no signal on to the program it runs, and as PID 1 "
        "is not even ended by it: the program trains on until SIGKILL, 120 s later, and what it had not saved is "
        'lost. This is so for the documented `["/bin/sh"]` with `["/mydir/custom_entrypoint.sh"]` too. Whether the '
        "script ends in `exec` cannot be seen in a request.",
        'Put smentry there: `"ContainerEntrypoint": ["smentry"]` with `"ContainerArguments": ["--script", '
        '"NAME/custom_entrypoint.sh"]` for a script of a channel, `["--", "/bin/sh", "/mydir/custom_entrypoint.sh"]` '
        'for one of the image. Or run the program by `exec`: `["/bin/sh", "-c", "cd /app && exec python3 train.py"]`.',
    ),
    Rule(
        "SM321",
        "an init that has no program, or tells a shell only",
        "tini, dumb-init and catatonit execute the words after them. Where there are none they end at once; `train` "
        "and `serve` are taken for the name of a program. tini and catatonit send SIGTERM to that program alone: a "
        "shell dies of it, the init ends, and the kernel kills the training in the middle of its checkpoint.",
        "Put smentry in the init's place: it knows `train` and `serve`, and tells the program behind the shell.",
    ),
    Rule(
        "SM322",
        "several words in one",
        "ContainerEntrypoint and ContainerArguments are lists of words, as `docker run` gets them. No shell splits "
        "them: a program called `python train.py` is looked for, or the program gets `--epochs 10` as one argument "
        "and knows no such option.",
        'Write each word by itself: `["python3", "train.py", "--epochs", "10"]`.',
    ),
    Rule(
        "SM323",
        "shell syntax where no shell is",
        "The words are handed to the program as they are: `$SM_CHANNEL_TRAINING` stays these letters, and `&&` or `|` "
        "is an argument.",
        'Let the program look into its environment, or write a script. With a shell: `["sh", "-c", "exec python3 '
        'train.py --data $SM_CHANNEL_TRAINING"]`.',
    ),
    Rule(
        "SM330",
        "a credential in the request",
        "Hyperparameters and environment are shown to everybody who may describe the job, and are kept for good. The "
        "documentation forbids credentials in both, and where the service detects one it refuses the request.",
        "Give the job's role the permission, or let the program fetch the secret from Secrets Manager, and pass its "
        "name or ARN only.",
    ),
)

_SCRIPTS = (
    Rule(
        "SM401",
        "Windows line ends",
        "A shell takes the CR of a CRLF for a part of the line's last word: `fi` is not found, files get names that "
        "end in CR. In a `#!` line the kernel looks for an interpreter of that name: `/bin/bash^M: bad interpreter`.",
        "Convert the file before it is uploaded or copied (`dos2unix FILE`, or `sed -i 's/\\r$//' FILE`), and keep it "
        "so: `*.sh text eol=lf` in `.gitattributes`.",
    ),
    Rule(
        "SM402",
        "an executable without a #! line",
        "The kernel executes no text that does not say by what: as ENTRYPOINT, as ContainerEntrypoint or as the "
        "`train` that the platform looks for, the container ends with `exec format error`. smentry has such a file "
        "run by sh, and a `.py` by Python only where it found it by itself, in a channel or in the code directory.",
        "Begin the file with `#!/bin/sh`, `#!/bin/bash` or `#!/usr/bin/env python3`.",
    ),
    Rule(
        "SM403",
        "a #! line that the kernel does not read",
        "`#!` counts as the first two bytes of a file only: not after an empty line, not after a byte order mark, not "
        "with a blank in between. What follows the interpreter is one word, so `env` looks for a program called "
        "`python3 -u`.",
        "Put the line first, save the file as UTF-8 without a byte order mark, and write `#!/usr/bin/env -S python3 "
        "-u` to give arguments.",
    ),
    Rule(
        "SM404",
        "a script with nothing in it",
        "It ends with 0 as soon as it starts, so the job is Completed, with an empty model. A file of no bytes was "
        "perhaps not uploaded whole.",
        "Write what the job is to do, or upload the file again.",
    ),
    Rule(
        "SM405",
        "the training's exit code is lost",
        "The platform knows by the exit code of PID 1 whether a job failed. A shell script ends with the code of its "
        "last command, and a pipe with that of its last part: training that failed, followed by `aws s3 cp`, `echo` "
        "or `| tee`, or waited for by a `wait` that names no process, is Completed, and no failure is seen.",
        "Begin with `set -e` (in bash `set -eo pipefail`), or keep the code: `python3 train.py; status=$?` … `exit "
        "$status`.",
    ),
    Rule(
        "SM406",
        "SIGTERM is ignored",
        "StopTrainingJob, MaxRuntimeInSeconds and a spot interruption are a SIGTERM and, 120 s later, SIGKILL. A "
        "process that ignores SIGTERM hands that on to every program it starts: nothing is saved, and each stop takes "
        "all of the 120 s.",
        "Leave it out. To let a script live on while its program saves, run the script by smentry, which tells the "
        "program itself; or use `trap : TERM`, which programs do not inherit.",
    ),
    Rule(
        "SM407",
        "SIGTERM is answered with SIGKILL",
        "Nobody can have a handler for SIGKILL: the 120 s that the platform gives for a checkpoint are thrown away.",
        "Hand SIGTERM on, and wait: `trap 'kill -TERM $pid; wait $pid' TERM`. Or drop the trap and let smentry tell "
        "the program.",
    ),
    Rule(
        "SM408",
        "the training is left in the background",
        "The script is the main process. When it ends PID 1 ends, and the kernel kills every other process in the "
        "container: the job is Completed before it has trained. smentry gives what is left 10 s, and no more.",
        "Take the `&` away, or end the script with `wait $!`, which hands on the exit code too.",
    ),
    Rule(
        "SM409",
        "a script that is executed is not executable",
        "An ENTRYPOINT, or a `train` on PATH, has to have the executable bit: the container ends with `permission "
        "denied`. Files that were made on Windows, or came out of S3 or a zip archive, have none.",
        "`RUN chmod 755 FILE` in the Dockerfile, `COPY --chmod=755`, or `git update-index --chmod=+x FILE`. smentry's "
        "`--train FILE.sh` needs it as well; a script of a channel or of the code directory does not.",
    ),
)

_SETTINGS = (
    Rule(
        "SM501",
        "smentry refuses its settings",
        "An option, a variable, a key of smentry.yaml or an event of hooks.d that smentry does not accept: the "
        "container ends with 2, nothing was started, and the job is Failed with this line as its FailureReason.",
        "The message says what was expected. `smentry --dry-run` in the container says the same.",
    ),
    Rule(
        "SM502",
        "hooks take longer than the stop timeout",
        "The times of the hooks, and of the kill, are set aside in the 120 s that the platform gives (30 s for "
        "`serve`). Where less than 1 s is left for the program, smentry refuses to start.",
        "Give the hooks shorter timeouts, or have fewer of them. A stop_timeout above the platform's is of no use: "
        "the platform does not wait for it.",
    ),
    Rule(
        "SM503",
        "a stop timeout beyond the platform's",
        "smentry shares out the time it is told it has. The platform sends SIGKILL 120 s after SIGTERM, 30 s for "
        "hosting, whatever smentry was told: hooks that were planned for later never run, and a program that was "
        "promised the time is killed while it saves.",
        "Leave stop_timeout out, or set at most `120s`. For another platform say which one: `profile: kubernetes`.",
    ),
    Rule(
        "SM504",
        "a setting without effect",
        "smentry starts, warns in the log, and does something else than was meant: `&&` in a command that no shell "
        "reads, an unknown SMENTRY_ variable, a file in hooks.d that is not executable or in no event's directory.",
        "The message says why. A shell is to be asked for: `sh -c '…'`.",
    ),
)

RULES: tuple[Rule, ...] = (*_REQUESTS, *_SCRIPTS, *_SETTINGS)
