#!/usr/bin/env bash
# Packs what scripts/gpu_check.sh needs on a machine with an NVIDIA GPU and without internet: the
# program, its tests and its benchmark, built with the feature `cuda`, and CUDA's headers. Nothing else
# travels but the repository. Builds in target/gpu_kit_build, about 20 minutes on 2 cores; arguments are
# further ones of cargo's.
#
#     scripts/gpu_kit.sh [CARGO ARGUMENT…]        writes target/gpu_kit/kit.tar.xz, below 50 MB
set -euo pipefail
cd "$(dirname "$0")/.."
kit="$PWD/target/gpu_kit" build="$PWD/target/gpu_kit_build" stub="$PWD/.ci/cubecl-llvm-stub"
mkdir -p "$kit" "$build"
rm -rf "${kit:?}"/* "$build/tree"

# In a copy, because our stand-in for a crate that downloads LLVM changes the lock.
mkdir "$build/tree"
cp -R Cargo.toml Cargo.lock clippy.toml build.rs src migrations benches tests scripts "$build/tree"
cd "$build/tree"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$build/target}" CARGO_INCREMENTAL=0
arguments=(--features cuda --config "patch.crates-io.cubecl-llvm.path='$stub'" "$@")

# Prints name and path of each program that a command of cargo's builds.
programs() {
    cargo "$@" --message-format=json | python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line)
    if built.get("executable"): print(built["target"]["name"], built["executable"])'
}
{
    programs build --release "${arguments[@]}" --bin sweep
    programs test --release "${arguments[@]}" --test gpu --test parity --no-run
    programs bench "${arguments[@]}" --bench model_step --no-run
} | sort -u | while read -r name path; do
    strip -o "$kit/$name" "$path"
done
(cd scripts/cuda_stand_in && ./prepare.sh "$build/cuda" >/dev/null)
cp -r "$build/cuda/include" "$kit/include"

cd "$kit"
# One dictionary over all: the programs are alike.
tar c -- * | xz --threads=1 --lzma2=preset=6,dict=384MiB >kit.tar.xz.partial
find . -mindepth 1 -maxdepth 1 ! -name '*.partial' -exec rm -r {} +
mv kit.tar.xz.partial kit.tar.xz
size=$(stat -c %s kit.tar.xz)
echo "$kit/kit.tar.xz: $((size / 1000000)) MB"
[ "$size" -lt 50000000 ]
