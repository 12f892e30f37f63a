#!/usr/bin/env bash
# fuzz_data.sh [FILES] [SEED] [FOLDER]: FILES (100,000) damaged files through `data check`, the
# loaders and the unpacker: three fifths images, masks and lists damaged at random, a fifth such
# that are certain to be faults, a fifth archives; and a hundredth more of SBD's
# masks. Tables at the end say how many of each kind of damage were named and how many accepted.
# FOLDER has sound files to damage besides the built-in ones. The same SEED damages the same way; a
# case that panics or hangs is named.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZ_FILES="${1:-100000}" FUZZ_SEED="${2:-0}"
[ -z "${3:-}" ] || export FUZZ_SEEDS="$3"
cargo test --test data_faults -- --nocapture damaged_
exec cargo test --lib -- --nocapture damaged_
