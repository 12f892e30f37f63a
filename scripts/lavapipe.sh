#!/usr/bin/env bash
# Tests the path of GPUs on a machine without one: Mesa's lavapipe is a Vulkan driver that computes on
# the CPU. Operations and a whole run against our CPU's, and the networks against the golden numbers of
# PyTorch. Builds with the feature `wgpu`: about 15 minutes on 2 cores, most of it compiling. Arguments
# are cargo's, in place of `--features wgpu`.
# On Debian: apt-get install mesa-vulkan-drivers libvulkan1
set -euo pipefail
cd "$(dirname "$0")/.."

driver=$(find /usr/share/vulkan /usr/local/share/vulkan -name 'lvp_icd*.json' 2>/dev/null || true)
driver=${driver%%$'\n'*}
if [ -z "$driver" ]; then
    echo "no lavapipe here: apt-get install mesa-vulkan-drivers libvulkan1" >&2
    exit 3
fi
[ $# -gt 0 ] || set -- --features wgpu
# With no other driver in sight it is the first adapter. Losses of fifty steps are left out: they take
# as long as all the rest, and hold no more than the gradients do.
VK_DRIVER_FILES="$driver" VK_ICD_FILENAMES="$driver" SWEEP_TEST_DEVICE=wgpu:0 \
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" \
    cargo test --release "$@" --test gpu --test parity -- --skip fifty_steps
