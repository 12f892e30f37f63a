#!/usr/bin/env bash
# fuzz_data.sh [FILES] [SEED] [FOLDER]: FILES (100,000) damaged images, masks and lists through
# `data check` and the loaders, and a fifth as many archives; FOLDER has sound files to damage besides the built-in ones. The
# same SEED damages the same way; a batch that panics or hangs is named.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZ_FILES="${1:-100000}" FUZZ_SEED="${2:-0}"
[ -z "${3:-}" ] || export FUZZ_SEEDS="$3"
exec cargo test --test data_faults -- --nocapture damaged_
