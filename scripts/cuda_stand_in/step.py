#!/usr/bin/env python3
"""Prints what one training step asks of the CUDA driver, counted by the stand-in.

    step.py MODEL_STEP      the benchmark `model_step`, built with the feature `cuda`

Steps of ViT-S/14 at 518 px, batch 16, LoRA on q and v, in f32 and bf16; and the memory that S, B and L
take. A step is the difference of a run of four steps from one of two, halved. Fails where a step asks
for more than LAUNCHES_MAX kernels or copies anything to the host.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter

# A third of what the same step launched in November 2026, by compositions of Burn's operations.
LAUNCHES_MAX = 2612 // 3
SHOWN = 12


def run(program, *arguments):
    """The stand-in's report of a run."""
    with tempfile.NamedTemporaryFile() as report:
        environment = dict(os.environ, CUDA_STAND_IN_REPORT=report.name)
        environment.pop("CUDA_STAND_IN_PTX", None)
        command = [program, "--device", "cuda:0", "--px", "518", "--batch", "16", *arguments]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return json.load(open(report.name))


def per_step(program, *arguments):
    """Counts of one step; kernels by name, without the hash of what they were compiled for."""
    fewer, more = (run(program, *arguments, "--iterations", str(n)) for n in (1, 3))
    kernels = Counter()
    for name, n in more.pop("kernels").items():
        kernels[name.rsplit("_", 1)[0]] += (n - fewer["kernels"].get(name, 0)) / 2
    return {key: (more[key] - fewer[key]) / 2 for key in more}, kernels, more["peak_bytes"]


def main():
    (program,) = sys.argv[1:]
    failed = False
    for precision in ("f32", "bf16"):
        counts, kernels, _ = per_step(
            program, "--model", "dinov2_vits14_reg", "--precision", precision)
        print(f"A step of ViT-S/14, 518 px, batch 16, {precision}: "
              f"{counts['launches']:.0f} kernels, {counts['to_device']:.0f} copies to the device "
              f"({counts['to_device_bytes'] / 1e6:.1f} MB), {counts['to_host']:.0f} to the host")
        for name, n in kernels.most_common(SHOWN):
            print(f"    {n:5.0f}  {name}")
        rest = sum(kernels.values()) - sum(n for _, n in kernels.most_common(SHOWN))
        print(f"    {rest:5.0f}  others")
        failed |= counts["launches"] > LAUNCHES_MAX or counts["to_host"] > 0
    for model in ("dinov2_vits14_reg", "dinov2_vitb14_reg", "dinov2_vitl14_reg"):
        peaks = [run(program, "--model", model, "--precision", precision, "--iterations", "1")
                 ["peak_bytes"] / 2**30 for precision in ("f32", "bf16")]
        print(f"{model}, batch 16: {peaks[0]:.1f} GiB in f32, {peaks[1]:.1f} GiB in bf16")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
