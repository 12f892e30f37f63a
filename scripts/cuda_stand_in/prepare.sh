#!/usr/bin/env bash
# Makes a folder with which a CUDA build of sweep runs on a machine without NVIDIA's GPU and driver:
# the stand-in for the driver, and NVRTC with the CUDA headers from PyPI's wheels (137 MB). Prints
# the variables to run programs with. Needs a C compiler and Python 3 with pip.
#
#     eval "$(scripts/cuda_stand_in/prepare.sh FOLDER)"
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "${1:?name a folder}" && cd "$1" && pwd)

mkdir -p "$folder/lib" "$folder/wheels"
# By a name that the program looks for and NVRTC does not: NVRTC calls functions that are not here.
for made in libcuda64.so:driver.c libnvidia-ml.so.1:management.c; do
    cc -shared -fPIC -O1 -Wall -Wextra -o "$folder/lib/${made%:*}" "$here/${made#*:}"
done
if [ ! -e "$folder/include/crt/mma.h" ]; then
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$folder/wheels" \
        nvidia-cuda-nvrtc-cu12==12.9.86 nvidia-cuda-runtime-cu12==12.9.79 \
        nvidia-cuda-cccl-cu12==12.9.27 nvidia-cuda-nvcc-cu12==12.9.86 >&2
    for wheel in "$folder"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$folder/wheels/unpacked"
    done
    cp -r "$folder"/wheels/unpacked/nvidia/*/include "$folder/"
    cp "$folder"/wheels/unpacked/nvidia/cuda_nvrtc/lib/libnvrtc* "$folder/lib/"
    install -m 755 "$folder/wheels/unpacked/nvidia/cuda_nvcc/bin/ptxas" "$folder/ptxas"
    rm -r "$folder/wheels"
fi
printf 'export CUDA_PATH=%q LD_LIBRARY_PATH=%q\n' "$folder" "$folder/lib"
