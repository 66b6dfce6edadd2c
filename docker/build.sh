#!/bin/sh
# Builds an image with smentry as its entrypoint. The build itself needs no network where the base image has Python.
#
#   docker/build.sh [TAG]             TAG: the image's name (smentry)
#
# BASE_IMAGE: the image to build on (the Dockerfile's own choice). DOCKERFILE: docker/Dockerfile or Dockerfile.gpu.
# PYTHON: a Python ≥ 3.9 with pip (python3). DOCKER: the engine's command (docker).
set -eu

tag=${1:-smentry} python=${PYTHON:-python3} docker=${DOCKER:-docker}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dockerfile=${DOCKERFILE:-$here/Dockerfile}
base=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' "$dockerfile")}

say() { echo "docker/build.sh: $*" >&2; }
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

"$docker" info >/dev/null 2>&1 || { say "no container engine answers to '$docker info'"; exit 1; }
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 130' INT TERM HUP

pip wheel --no-deps --wheel-dir "$context" "$here/.."

set --
describe='import platform, sys; print("%d.%d %s %s" % (*sys.version_info[:2], platform.machine(), platform.libc_ver()[0] or "musl"))'
if described=$("$docker" run --rm --network none --entrypoint python3 "$base" -c "$describe"); then
    # word by word: version, machine, C library
    # shellcheck disable=SC2086
    set -- $described
    case $3 in
    glibc) platforms="manylinux2014_$2 manylinux_2_17_$2 manylinux_2_28_$2" ;;
    *) platforms="musllinux_1_1_$2 musllinux_1_2_$2" ;;
    esac
    version=$1
    set -- --python-version "$version" --only-binary :all: --dest "$context" --find-links "$context"
    for platform in $platforms; do set -- "$@" --platform "$platform"; done
    pip download "$@" "$context"/smentry-*.whl
    set -- --network none --build-arg PIP_NO_INDEX=1
else
    say "$base has no python3 yet: the build will fetch what it needs itself"
fi

if ! output=$("$docker" build --file "$dockerfile" --build-arg "BASE_IMAGE=$base" --tag "$tag" "$@" "$context" 2>&1); then
    echo "$output" >&2
    say "building $tag on $base failed, see above"
    exit 1
fi
say "built $tag on $base"
