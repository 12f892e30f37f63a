#!/usr/bin/env bash
# Runs experiments/ccp8.toml on real weights and real images, and prints its table.
#
#   scripts/real_run.sh WEIGHTS VOC_FOLDER [RESULTS]
#
# WEIGHTS: a DINOv2 ViT-S/14 without registers: an official .pth, or a safetensors file (or its
# folder) in Hugging Face names. VOC_FOLDER: a dataset in VOC layout. RESULTS: the results folder
# (default: results). The same command goes on where it was interrupted.
# SWEEP=… names a binary to use instead of building one.
set -euo pipefail

usage() {
    sed -n '4,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -eq 2 ] || [ $# -eq 3 ] || usage
# Paths are the caller's; the experiment file is found beside this script.
weights=$(realpath -e -- "$1")
data=$(realpath -e -- "$2")
results=$(realpath -m -- "${3:-results}")
cd "$(dirname "$0")/.."

if [ -z "${SWEEP:-}" ]; then
    cargo build --release
    SWEEP="${CARGO_TARGET_DIR:-target}/release/sweep"
fi
exec "$SWEEP" run experiments/ccp8.toml --device cpu --results "$results" \
    --set "weights.path=$weights" --set "data.root=$data"
