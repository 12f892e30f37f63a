#!/usr/bin/env bash
# Checks sweep on a machine with an NVIDIA GPU, offline, in at most seven minutes; from the repository's
# root, with the kit that scripts/gpu_kit.sh packed.
#
#     scripts/gpu_check.sh [--out FOLDER] [--device cuda:0] [--kit target/gpu_kit/kit.tar.xz]
#
# Writes FOLDER/<device>.md and .json, after each step anew, so that a step that fails or hangs loses
# nothing. Steps, limits and what each measures: scripts/gpu_check.py.
exec python3 "$(dirname "$0")/gpu_check.py" "$@"
