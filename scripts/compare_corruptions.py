#!/usr/bin/env python3
"""Milliseconds of the 15 corruptions of ImageNet-C, here and in imagecorruptions, one thread each.

    scripts/compare_corruptions.py [--level N] [--binary FILE]

Needs Python with `imagecorruptions`, `opencv-python-headless` and `scikit-image`. Both make the same
500x375 picture; each corruption is the best of a few. FILE is the built benchmark
(`cargo bench --bench corruption --no-run` names it); without it, `cargo bench` runs it.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
warnings.filterwarnings("ignore")

import numpy as np

REPEATS = 3


def reference():
    """Imports imagecorruptions, patched to work with newer numpy and scikit-image."""
    if not hasattr(np, "float_"):
        np.float_ = np.float64
    import cv2
    import imagecorruptions
    import imagecorruptions.corruptions as corruptions
    import skimage.filters

    cv2.setNumThreads(1)

    def gaussian(image, sigma=1, multichannel=False, mode="nearest", truncate=4.0):
        axis = -1 if multichannel else None
        return skimage.filters.gaussian(image, sigma, mode=mode, truncate=truncate, channel_axis=axis)

    corruptions.gaussian = gaussian
    return imagecorruptions


def picture(width, height):
    """The picture of waves that the benchmark corrupts."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.float32)
    wave = np.sin(x / 37 + c) * np.cos(y / 23) * 80
    return (128 + wave + np.sin(x * 1.7 + y * 2.3 + c) * 20).astype(np.uint8)


def ours(binary, level):
    """Milliseconds by name, from the table that the benchmark prints."""
    command = [binary, "--bench"] if binary else ["cargo", "bench", "--bench", "corruption"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = (line.split() for line in text.splitlines())
    return {row[0]: float(row[level]) for row in rows if len(row) == 6 and row[0] != "ms"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--level", type=int, default=5, choices=range(1, 6))
    parser.add_argument("--binary")
    args = parser.parse_args()
    here = ours(args.binary, args.level)
    library = reference()
    image = picture(500, 375)
    print(f"{'ms at level ' + str(args.level):<18} {'sweep':>8} {'imagecorruptions':>17} {'ratio':>6}")
    totals = [0.0, 0.0]
    for name in library.get_corruption_names("common"):
        times = []
        for seed in range(REPEATS):
            np.random.seed(seed)
            start = time.perf_counter()
            library.corrupt(image, corruption_name=name, severity=args.level)
            times.append((time.perf_counter() - start) * 1e3)
        there = min(times)
        totals = [totals[0] + here[name], totals[1] + there]
        print(f"{name:<18} {here[name]:>8.2f} {there:>17.1f} {there / here[name]:>6.0f}")
    print(f"{'all 15':<18} {totals[0]:>8.1f} {totals[1]:>17.1f} {totals[1] / totals[0]:>6.0f}")


if __name__ == "__main__":
    sys.exit(main())
