#!/usr/bin/env bash
# Compiles every kernel of training and scoring for NVIDIA's GPUs, on a machine without one: the
# program runs on a stand-in for the driver (scripts/cuda_stand_in), its kernels are compiled by the
# real NVRTC, for compute capabilities 8.0, 9.0 and 10.0, in f32 and bf16. Prints registers and spilled
# bytes of each kernel of ours, and what a training step of ViT-S/14 at 518 px, batch 16, asks of the
# driver. Builds with the feature `cuda`; further arguments are cargo's.
#
#     scripts/cuda_check.sh FOLDER [CARGO ARGUMENT…]
#
# FOLDER is kept, with 500 MB of NVRTC and CUDA's headers; see scripts/cuda_stand_in/prepare.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?name a folder}
shift
variables=$(scripts/cuda_stand_in/prepare.sh "$folder")
[ $# -gt 0 ] || set -- --features cuda

# The program that a command of cargo's builds. It is run by itself: to cargo, other variables are
# another build.
built() { # NAME COMMAND…
    local name=$1
    shift
    cargo "$@" --no-run --message-format=json | python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line)
    if built.get("executable") and built["target"]["name"] == sys.argv[1]:
        print(built["executable"])' "$name"
}
tests=$(built gpu test --release "$@" --test gpu)
program=$(built model_step bench "$@" --bench model_step)

eval "$variables"
export CUDA_STAND_IN_REPORT="$folder/report.json"
for sm in 80 90 100; do
    rm -rf "$folder/ptx-$sm"
    mkdir "$folder/ptx-$sm"
    SWEEP_TEST_DEVICE=cuda:0 CUDA_STAND_IN_SM=$sm CUDA_STAND_IN_PTX="$folder/ptx-$sm" \
        "$tests" --exact networks::every_kernel_compiles
done
python3 scripts/cuda_stand_in/registers.py "$folder/ptxas" "$folder"/ptx-*
python3 scripts/cuda_stand_in/step.py "$program"
