#!/bin/sh
# A training job is stopped, and its model is saved: once through, from the platform's files to the exit code.
#
#   docker/demo.sh            in a temporary directory, without root and without a container engine
#   docker/demo.sh --docker   in a container, stopped by `docker stop`
#
# PYTHON: a Python that has smentry (python3). DOCKER: the engine's command (docker).
# SMENTRY_BASE_IMAGE: with --docker, the image to build on instead of the Dockerfile's own choice.
set -eu

python=${PYTHON:-python3} docker=${DOCKER:-docker} base_image=${SMENTRY_BASE_IMAGE:-}
unset SMENTRY_BASE_IMAGE
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
example=$here/examples/training
container=smentry-demo-$$
init=

main() {
    case ${1:-} in
    '') where=directory ;;
    --docker) where=container ;;
    *) die "got '$1', expected nothing or --docker" ;;
    esac
    check_"$where"
    scratch=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    say "The job, laid out as the platform does it"
    lay_out "$scratch/ml"
    mkfifo "$scratch/output"

    say "What smentry and the program say: SIGTERM comes after the third epoch"
    start_"$where"
    stop_after_epoch_3 <"$scratch/output"
    wait_"$where"

    say "What the platform finds when the job has ended"
    report "$scratch/ml" "$code"
    [ "$where" = directory ] || contrast
}

say() { printf '\n== %s\n' "$*"; }
die() { echo "demo: $*" >&2; exit 1; }

lay_out() {
    mkdir -p "$1/input/config" "$1/input/data/code" "$1/input/data/training" "$1/model" "$1/checkpoints" "$1/output"
    cat >"$1/input/config/hyperparameters.json" <<-'JSON'
	{"epochs": "30", "learning_rate": "0.02", "batch_size": "32"}
	JSON
    cat >"$1/input/config/inputdataconfig.json" <<-'JSON'
	{"code": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"},
	 "training": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}}
	JSON
    cat >"$1/input/config/resourceconfig.json" <<-'JSON'
	{"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
	JSON
    cp "$example/custom_entrypoint.sh" "$example/train.py" "$1/input/data/code"
    cp "$example"/data/*.csv.gz "$1/input/data/training"
    chmod 644 "$1"/input/data/*/*  # S3 keeps no mode bits
    (cd "$1" && find . -type f | sort | sed 's/^\./    ml/')
}

stop_after_epoch_3() {
    while IFS= read -r line; do
        printf '    %s\n' "$line"
        case $line in
        "epoch 3 "*)
            printf '    -------- SIGTERM\n'
            stop_"$where"
            ;;
        esac
    done
}

report() {
    "$python" - "$1/model/model.json" "$2" <<-'PYTHON' || die "the model was not saved, the exit code is $2"
	import json, os, sys
	path, code = sys.argv[1:]
	model = json.load(open(path))
	print(f"    exit code {code}")
	print(f"    model/model.json: {os.path.getsize(path)} bytes, {model['epochs']} epochs, accuracy {model['accuracy']:.1%}")
	sys.exit(not (code == "0" and model["epochs"] >= 3))
	PYTHON
    summary=$1/output/data/summary.txt
    [ -s "$summary" ] || die "custom_entrypoint.sh did not get to its last lines: there is no output/data/summary.txt"
    echo "    output/data/summary.txt: $(head -n 1 "$summary")"
    printf '\n%s\n' "Stopped and saved: train.py had its SIGTERM though a shell without exec stood before it, and the script's last lines ran."
}

# ---- in a directory

check_directory() {
    "$python" -c 'import smentry' 2>/dev/null || die "$python has no smentry: run 'make demo', or set PYTHON"
    PATH=$(dirname -- "$(command -v "$python")"):$PATH  # the script's python3 is the same one
}

start_directory() {
    # In a session of its own: ^C is for this script, which then stops smentry.
    SAGEMAKER_BASE_DIR=$scratch/ml setsid "$python" -m smentry train >"$scratch/output" 2>&1 &
    init=$!
}

stop_directory() { kill -TERM "$init"; }

wait_directory() {
    code=0
    wait "$init" || code=$?
    init=
    left=$(grep -ls "SAGEMAKER_BASE_DIR=$scratch/ml" /proc/[0-9]*/environ || true)
    [ -z "$left" ] || die "processes of the job are still alive: $left"
}

clean_up_directory() {
    if [ -n "$init" ]; then
        kill -TERM "$init" 2>/dev/null || true
        wait "$init" || true
    fi
}

# ---- in a container

check_container() {
    "$docker" info >/dev/null 2>&1 || die "no container engine answers to '$docker info'; without one, run 'make demo'"
}

start_container() {
    BASE_IMAGE=$base_image PYTHON=$python DOCKER=$docker "$here/build.sh" smentry-demo
    run_container smentry-demo train
}

# The arguments are docker's: options, image, command.
run_container() {
    "$docker" create --name "$container" "$@" >/dev/null
    "$docker" cp "$scratch/ml/." "$container:/opt/ml"
    "$docker" start "$container" >/dev/null
    "$docker" logs --follow "$container" >"$scratch/output" 2>&1 &
}

stop_container() { "$docker" stop -t 120 "$container" >/dev/null & }

wait_container() {
    code=$("$docker" wait "$container")
    "$docker" cp "$container:/opt/ml/." "$scratch/ml"
}

contrast() {
    say "The same script under the engine's own init (docker run --init), which is tini"
    clean_up_container
    rm -rf "$scratch/ml"
    lay_out "$scratch/ml" >/dev/null
    run_container --init --workdir /opt/ml/input/data/code --entrypoint /bin/sh smentry-demo custom_entrypoint.sh
    stop_after_epoch_3 <"$scratch/output"
    wait_container
    if [ -e "$scratch/ml/model/model.json" ]; then
        printf '\n%s\n' "Exit code $code, and the model was saved here too."
    else
        printf '\n%s\n' "Exit code $code, no model: the shell alone had the SIGTERM and died of it, train.py was killed."
    fi
}

clean_up_container() { "$docker" rm --force "$container" >/dev/null 2>&1 || true; }

clean_up() {
    trap '' INT TERM HUP
    clean_up_"$where"
    rm -rf "$scratch"
}

main "$@"
