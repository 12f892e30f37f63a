#!/usr/bin/env python3
"""Training samples of VOC, here and in the loader of dinov2-finetune, side by side.

    scripts/compare_loader.py REFERENCE FOLDER [--binary FILE] [--rounds N]
    scripts/compare_loader.py REFERENCE FOLDER --make PHOTOS

REFERENCE is a checkout of dinov2-finetune, whose own dataset class, transforms and collation are
used; FOLDER is `VOC2012` in a `VOCdevkit`. `--make` writes a folder like it of the photographs and
index masks of another one in VOC layout: 500x375 or 375x500, JPEG of quality 92 with halved colours,
masks with VOC's palette.

A sample is read, decoded, resized to 308x308 and put into a batch of float32 and labels, all in
memory that the system has cached. Both loaders take turns, one epoch each a round; what is printed
is medians over rounds, of wall clock and of processor time, and the median of the rounds' ratios.
Without worker processes the reference loads in one thread, and so do we; then both get two workers.

Needs Python with torch, torchvision, albumentations 1.4.7 and opencv. FILE is the built benchmark
(`cargo bench --bench loader --no-run` names it); without it, `cargo bench` builds it.
"""

import argparse
import importlib
import os
import pathlib
import statistics
import subprocess
import sys
import time
import types

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import numpy as np
from PIL import Image

BATCH = 4
TICKS = os.sysconf("SC_CLK_TCK")


def palette():
    """VOC's palette: the bits of the index, dealt to red, green and blue from the top."""
    colours = []
    for index in range(256):
        colour = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                colour[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        colours += colour
    return colours


def make(photos, folder):
    """Writes another dataset in VOC's sizes and formats; classes are VOC's first ones."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        lists = [photos / "ImageSets" / "Segmentation", photos / "ImageSets"]
        text = next(path / f"{split}.txt" for path in lists if (path / f"{split}.txt").exists())
        stems = text.read_text().split()
        (folder / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            image = Image.open(photos / f"JPEGImages/{stem}.jpg").convert("RGB")
            mask = np.array(Image.open(photos / f"SegmentationClass/{stem}.png"))
            size = (500, 375) if image.width > image.height else (375, 500)
            image.resize(size, Image.BICUBIC).save(folder / f"JPEGImages/{stem}.jpg", quality=92,
                                                   subsampling="4:2:0")
            mask = np.where(mask == 255, 255, mask % 21).astype(np.uint8)
            mask = Image.fromarray(mask).resize(size, Image.NEAREST)
            mask = mask.convert("P") if mask.mode != "P" else mask
            mask.putpalette(palette())
            mask.save(folder / f"SegmentationClass/{stem}.png")


def reference(checkout, folder, workers, px):
    """The reference's endless batches, and their number per epoch, as its `main.py` gets them."""
    import albumentations
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # The package itself imports models and plots.
    package = types.ModuleType("dino_finetune")
    package.__path__ = [str(checkout / "dino_finetune")]
    sys.modules["dino_finetune"] = package
    data = importlib.import_module("dino_finetune.data")
    transform = albumentations.Compose([albumentations.Resize(height=px, width=px)])
    root = folder.resolve().parent.parent
    if folder.resolve() != root / "VOCdevkit/VOC2012":
        sys.exit(f"`{folder}` must be called VOCdevkit/VOC2012, as the reference requires")
    dataset = data.PascalVOCDataset(root=str(root), year="2012", image_set="train",
                                    download=False, transform=transform)
    loader = torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True,
                                         num_workers=workers, persistent_workers=workers > 0)

    def epoch():
        for images, masks in loader:
            images.float(), masks.long()

    return epoch, len(dataset)


def processor_s(pids):
    """Processor time of processes, all their threads included."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class Ours:
    def __init__(self, binary, folder, threads, arguments):
        command = [binary, folder, "--serve", "--batch", BATCH, "--threads", threads, *arguments]
        self.process = subprocess.Popen([str(part) for part in command], text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def epoch(self):
        self.process.stdin.write("\n")
        return float(self.process.stdout.readline())

    def close(self):
        # The reference's workers hold the other end of its input too.
        self.process.kill()
        self.process.wait()


def measured(epoch, pids):
    """Wall clock and processor seconds of one epoch."""
    before, start = processor_s(pids()), time.perf_counter()
    epoch()
    return time.perf_counter() - start, processor_s(pids()) - before


def compare(args, workers, arguments=()):
    ours = Ours(args.binary, args.folder, max(workers, 1), ["--px", args.px, *arguments])
    theirs, n = reference(args.reference, args.folder, workers, args.px)
    me = os.getpid()
    their_pids = lambda: [me, *(pid for pid in children(me) if int(pid) != ours.process.pid)]
    ours.epoch(), theirs()
    rounds = []
    for _ in range(args.rounds):
        here = measured(ours.epoch, lambda: [ours.process.pid])
        there = measured(theirs, their_pids)
        rounds.append((here, there))
    ours.close()
    title = "one thread each" if workers == 0 else f"{workers} workers each"
    title += ", decoded samples kept" if arguments else ""
    print(f"{title:<40} {'sweep':>8} {'reference':>10} {'ratio':>6}")
    for i, what in enumerate(("ms a sample, wall clock", "ms a sample, processor")):
        here = statistics.median(r[0][i] for r in rounds) * 1e3 / n
        there = statistics.median(r[1][i] for r in rounds) * 1e3 / n
        ratio = statistics.median(r[1][i] / max(r[0][i], 1 / TICKS) for r in rounds)
        print(f"  {what:<38} {here:>8.2f} {there:>10.2f} {ratio:>6.1f}", flush=True)


def built():
    """Builds the benchmark and returns its path."""
    command = ["cargo", "bench", "--bench", "loader", "--no-run"]
    text = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    return text.rpartition("(")[2].partition(")")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--make", type=pathlib.Path, metavar="PHOTOS")
    parser.add_argument("--binary")
    parser.add_argument("--px", type=int, default=308)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.make:
        make(args.make, args.folder)
        return
    args.binary = args.binary or built()
    compare(args, 0)
    compare(args, 2)
    compare(args, 0, ["--cache-mb", 1 << 20])


if __name__ == "__main__":
    sys.exit(main())
