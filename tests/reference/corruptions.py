"""Scores one checkpoint on images that our program corrupts and on images that imagecorruptions
corrupted, and compares the mIoUs.

A copy of the dataset is laid out in VOC layout under --work: the images of the split as PNG, so
that both corrupt the same pixels whatever the JPEG decoder, and beside them splits named
`<corruption>.<draw>` of imagecorruptions' pictures. One experiment trains and scores our
corruptions, a second one with the same run scores the others' splits as clean images. Stochastic
corruptions are drawn several times by both; the spread over draws is printed.
"""

import argparse
import json
import subprocess
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from PIL import Image

STOCHASTIC = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "snow",
    "frost",
    "fog",
    "elastic_transform",
]
DETERMINISTIC = [
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
]
# Differences of mIoU in points.
LIMIT_DETERMINISTIC = 0.05
LIMIT_STOCHASTIC = 0.3

EXPERIMENT = """
name = "{name}"
[grid]
lora_rank = [{rank}]
[model]
dino_type = "dinov2"
size      = "small"
registers = false
[weights]
kind = "file"
path = "{weights}"
[data]
kind = "voc"
root = "{data}"
[train]
recipe     = "modern"
epochs     = {epochs}
batch_size = 4
lr         = 1e-3
lr_encoder = 1e-3
input      = {{ px = {px} }}
validate_every = 0
[eval]
sets       = {sets}
corruption = {{ suite = "{suite}", severities = [{severity}] }}
"""


@cache
def load_imagecorruptions():
    """The package as released does not run on today's numpy and scikit-image: a removed alias and
    a renamed argument are put back, nothing else."""
    warnings.filterwarnings("ignore")
    np.float_ = np.float64
    from imagecorruptions import corrupt, corruptions

    gaussian = corruptions.gaussian

    def with_old_argument(image, sigma, multichannel=False, **options):
        return gaussian(image, sigma, channel_axis=-1 if multichannel else None, **options)

    corruptions.gaussian = with_old_argument
    return corrupt


def corrupt_one(job: tuple[Path, Path, str, int, int]) -> None:
    source, target, name, severity, seed = job
    if target.exists():
        return
    corrupt = load_imagecorruptions()
    np.random.seed(seed)
    image = corrupt(np.asarray(Image.open(source)), severity=severity, corruption_name=name)
    partial = target.with_suffix(".partial")
    Image.fromarray(image).save(partial, format="png")
    partial.rename(target)


def link(target: Path, source: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.symlink_to(source.resolve())


def write_split(data: Path, name: str, stems: list[str]) -> None:
    folder = data / "ImageSets/Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def read_split(source: Path, name: str) -> list[str]:
    return (source / "ImageSets/Segmentation" / f"{name}.txt").read_text().split()


def draws(corruption: str, args: argparse.Namespace) -> list[int]:
    return list(range(args.draws if corruption in STOCHASTIC else 1))


def lay_out(args: argparse.Namespace) -> Path:
    """The dataset with its clean splits, and a split for each corruption and draw."""
    data = args.work / f"{args.data.name}_corrupted"
    link(data / "classes.txt", args.data / "classes.txt")
    train = read_split(args.data, "train")
    for stem in train:
        link(data / "JPEGImages" / f"{stem}.jpg", args.data / "JPEGImages" / f"{stem}.jpg")
        link(data / "SegmentationClass" / f"{stem}.png", mask_of(args, stem))
    write_split(data, "train", train)

    stems = read_split(args.data, args.split)[: args.images]
    # The same picture under another name is corrupted by other draws of ours.
    for draw in range(args.draws):
        for stem in stems:
            target = data / "JPEGImages" / f"val.{draw}/{stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                photo = Image.open(args.data / "JPEGImages" / f"{stem}.jpg").convert("RGB")
                photo.save(target)
            link(data / "SegmentationClass" / f"val.{draw}/{stem}.png", mask_of(args, stem))
        write_split(data, f"val.{draw}", [f"val.{draw}/{stem}" for stem in stems])

    jobs = []
    for draw in range(args.draws):
        for corruption in args.corruptions:
            if draw not in draws(corruption, args):
                continue
            name = f"{corruption}.{draw}"
            (data / "JPEGImages" / name).mkdir(exist_ok=True)
            for i, stem in enumerate(stems):
                source = data / "JPEGImages" / f"val.0/{stem}.png"
                target = data / "JPEGImages" / name / f"{stem}.png"
                jobs.append((source, target, corruption, args.severity, 1000 * draw + i))
                link(data / "SegmentationClass" / name / f"{stem}.png", mask_of(args, stem))
            write_split(data, name, [f"{name}/{stem}" for stem in stems])
    with ProcessPoolExecutor(args.processes) as pool:
        list(pool.map(corrupt_one, jobs, chunksize=8))
    return data


def mask_of(args: argparse.Namespace, stem: str) -> Path:
    return args.data / "SegmentationClass" / f"{stem}.png"


def scores(args: argparse.Namespace, data: Path, name: str, sets: list[str], suite: str) -> dict:
    """mIoU in points by (set, corruption or None)."""
    experiment = args.work / f"{name}.toml"
    experiment.write_text(
        EXPERIMENT.format(
            name=name,
            rank=args.rank,
            weights=args.weights.resolve(),
            data=data.resolve(),
            epochs=args.epochs,
            px=args.px,
            sets=json.dumps(sets),
            suite=suite,
            severity=args.severity,
        )
    )
    sweep = [str(args.sweep.resolve()), "--results", str(args.work / "results")]
    settings = [part for value in args.set for part in ("--set", value)]
    command = [*sweep, "run", str(experiment), "--device", "cpu", *settings]
    subprocess.run(command, check=True)
    table = subprocess.run(
        [*sweep, "table", name, "--format", "json"], check=True, capture_output=True, text=True
    )
    (run,) = {run for row in json.loads(table.stdout)["rows"] for run in row["runs"]}
    shown = subprocess.run(
        [*sweep, "show", run, "--json"], check=True, capture_output=True, text=True
    )
    found = {}
    for score in json.loads(shown.stdout)["details"]["scores"]:
        split = score["set"].split("/")[1]
        found[split, score["corruption"]] = 100 * score["metrics"]["miou"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path, required=True, help="the program")
    parser.add_argument("--data", type=Path, required=True, help="dataset in VOC layout")
    parser.add_argument("--weights", type=Path, required=True, help="DINOv2-S without registers")
    parser.add_argument("--work", type=Path, required=True, help="folder for images and results")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, help="of the split; all if left out")
    parser.add_argument("--suite", default="imagenet-c-15")
    parser.add_argument("--corruptions", nargs="+", default=[*STOCHASTIC, *DETERMINISTIC])
    parser.add_argument("--severity", type=int, default=5)
    parser.add_argument("--draws", type=int, default=3, help="of stochastic corruptions")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE for `sweep run`")
    args = parser.parse_args()

    args.work.mkdir(parents=True, exist_ok=True)
    data = lay_out(args)
    val = [f"val.{draw}" for draw in range(args.draws)]
    ours = scores(args, data, "ours", val, args.suite)
    sets = [f"{name}.{draw}" for name in args.corruptions for draw in draws(name, args)]
    theirs = scores(args, data, "theirs", sets, "none")

    print(f"clean mIoU {ours['val.0', None]:.2f}")
    print("| corruption | ours | imagecorruptions | difference | limit | std over draws |")
    print("|---|---:|---:|---:|---:|---:|")
    failed = False
    for name in args.corruptions:
        a = [ours[f"val.{draw}", name] for draw in draws(name, args)]
        b = [theirs[f"{name}.{draw}", None] for draw in draws(name, args)]
        limit = LIMIT_STOCHASTIC if name in STOCHASTIC else LIMIT_DETERMINISTIC
        off = mean(a) - mean(b)
        failed |= abs(off) > limit
        spread = f"{stdev(a):.2f}, {stdev(b):.2f}" if len(a) > 1 else ""
        print(
            f"| {name} | {mean(a):.2f} | {mean(b):.2f} | {off:+.3f} | {limit} | {spread} |"
        )
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
