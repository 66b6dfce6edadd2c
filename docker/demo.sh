#!/bin/sh
# A training job is stopped, and its model is saved: once through, from the request to the artifacts.
#
#   docker/demo.sh            as processes, without root and without a container engine
#   docker/demo.sh --docker   in a container, and then the same script without smentry
#
# PYTHON: a Python that has smentry[ctl] (python3). DOCKER: the engine's command (docker).
# SMENTRY_BASE_IMAGE: with --docker, the image to build on instead of the Dockerfile's own choice.
set -eu

python=${PYTHON:-python3} docker=${DOCKER:-docker} base_image=${SMENTRY_BASE_IMAGE:-}
unset SMENTRY_BASE_IMAGE
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
example=$here/examples/training
job=smentry-demo-$$
running=

main() {
    case ${1:-} in
    '') engine=process ;;
    --docker) engine=docker ;;
    *) die "got '$1', expected nothing or --docker" ;;
    esac
    "$python" -c 'import smentry.ctl' 2>/dev/null || die "$python has no smentry: run 'make demo', or set PYTHON"
    [ "$engine" = process ] || build
    scratch=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'exit 141' PIPE

    say "The job: what 'aws sagemaker create-training-job --cli-input-json' takes, and what is in S3"
    write_request
    fill_bucket

    say "What smentryctl, smentry and the program say: the job is stopped after the third epoch"
    run
    [ "$code" = 3 ] || die "expected exit code 3, which is Stopped, got $code"

    say "What is in S3 when the job has ended"
    report
    [ "$engine" = process ] || contrast
}

say() { printf '\n== %s\n' "$*"; }
die() { echo "demo: $*" >&2; exit 1; }

build() {
    "$docker" info >/dev/null 2>&1 || die "no container engine answers to '$docker info'; without one, run 'make demo'"
    BASE_IMAGE=$base_image PYTHON=$python DOCKER=$docker "$here/build.sh" smentry-demo
}

write_request() {
    cat >"$scratch/request.json" <<-JSON
	{
	  "TrainingJobName": "$job",
	  "AlgorithmSpecification": {"TrainingImage": "smentry-demo", "TrainingInputMode": "File"},
	  "RoleArn": "arn:aws:iam::000000000000:role/demo",
	  "HyperParameters": {"epochs": "30", "learning_rate": "0.02", "batch_size": "32"},
	  "InputDataConfig": [
	    {"ChannelName": "code",
	     "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://demo/code/"}}},
	    {"ChannelName": "training",
	     "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://demo/training/"}}}
	  ],
	  "OutputDataConfig": {"S3OutputPath": "s3://demo/output/"},
	  "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
	  "StoppingCondition": {"MaxRuntimeInSeconds": 600}
	}
	JSON
    sed 's/^/    /' "$scratch/request.json"
}

fill_bucket() {
    mkdir -p "$scratch/s3/code" "$scratch/s3/training"
    cp "$example/custom_entrypoint.sh" "$example/train.py" "$scratch/s3/code"
    cp "$example"/data/*.csv.gz "$scratch/s3/training"
    (cd "$scratch/s3" && find . -type f | sort | sed 's/^\./    s3:\/\/demo/')
}

# The arguments are smentryctl's: changes to the request.
run() {
    rm -rf "$scratch/lines" "$scratch/output"
    mkfifo "$scratch/lines"
    # The job's python3 is the same one. In a session of its own: ^C is for this script, which then stops the job.
    PATH=$(dirname -- "$(command -v "$python")"):$PATH setsid "$python" -m smentry.ctl run "$scratch/request.json" \
        --engine "$engine" --s3 "s3://demo=$scratch/s3" --output "$scratch/output" "$@" >"$scratch/lines" 2>&1 &
    running=$!
    exec 3<"$scratch/lines"  # open until the end: smentryctl must be able to say what it does when this script is stopped
    while IFS= read -r line; do
        printf '    %s\n' "$line"
        case $line in
        *"| epoch 3 "*)
            printf '    -------- StopTrainingJob\n'
            kill -TERM "$running"
            ;;
        esac
    done <&3
    code=0
    wait "$running" || code=$?
    running=
    left=$(grep -ls "TRAINING_JOB_NAME=$job" /proc/[0-9]*/environ || true)
    [ -z "$left" ] || die "processes of the job are still alive: $left"
}

report() {
    "$python" - "$scratch/output" <<-'PYTHON' || die "the model was not saved, or custom_entrypoint.sh did not get to its last lines"
	import json, os, sys, tarfile
	def read(archive, name):
	    path = os.path.join(sys.argv[1], archive)
	    if not os.path.exists(path):
	        sys.exit(f"    no {archive}")
	    with tarfile.open(path) as packed:
	        return packed.extractfile(name).read()
	saved = read("model.tar.gz", "model.json")
	model = json.loads(saved)
	print(f"    model.tar.gz: model.json, {len(saved)} bytes, {model['epochs']} epochs, accuracy {model['accuracy']:.1%}")
	print("    output.tar.gz: summary.txt,", read("output.tar.gz", "summary.txt").decode().splitlines()[0])
	sys.exit(model["epochs"] < 3)
	PYTHON
    printf '\n%s\n' "Stopped and saved: train.py had its SIGTERM though a shell without exec stood before it, and the script's last lines ran."
}

contrast() {
    say "The same script without smentry: ContainerEntrypoint is a shell, and SIGKILL comes after 5 s instead of 120"
    run --entrypoint /bin/sh --argument /opt/ml/input/data/code/custom_entrypoint.sh --stop-timeout 5s
    [ "$code" = 3 ] || die "expected exit code 3, which is Stopped, got $code"
    if [ -e "$scratch/output/model.tar.gz" ]; then
        printf '\n%s\n' "The model was saved here too."
    else
        printf '\n%s\n' "No model: the shell alone had the SIGTERM, as PID 1 it ignored it, and train.py was killed with it."
    fi
}

clean_up() {
    trap '' INT TERM HUP
    if [ -n "$running" ]; then
        kill -TERM "$running" 2>/dev/null || true
        cat <&3 >/dev/null || true
        wait "$running" || true
    fi
    rm -rf "$scratch"
}

main "$@"
