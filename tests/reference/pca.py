"""Principal components by scikit-learn: the fixture of a test, and `sweep pca` on images and videos
beside a plain script of PyTorch and scikit-learn.

    fixture   writes tests/data/pca/sklearn.safetensors; cargo test --lib viz::pca holds ours to it
    colours   `sweep pca` on images against scikit-learn's PCA on the tokens that `sweep features` gives
    video     the plain script on a video: each frame through transformers' model, one PCA over all,
              min-max, H.264 by ffmpeg; its time and peak memory, and those of `sweep pca`
    flicker   mean change of colour from frame to frame of what is static in the input
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PATCH = 14
FIXTURE = Path(__file__).parents[1] / "data/pca/sklearn.safetensors"
# Grey levels that a static pixel may change by from one frame to the next.
STATIC = 2


def fixture(_: argparse.Namespace) -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(24, 24)) * np.linspace(4, 0.1, 24)[:, None]
    rows = (rng.normal(size=(500, 24)) @ mixed + 5 * rng.normal(size=24)).astype(np.float32)
    pca = PCA(6, svd_solver="full").fit(rows.astype(np.float64))
    white = PCA(6, svd_solver="full", whiten=True).fit(rows.astype(np.float64))
    tensors = {
        "rows": rows,
        "mean": pca.mean_,
        "components": pca.components_,
        "variance": pca.explained_variance_,
        "projected": pca.transform(rows.astype(np.float64)),
        "whitened": white.transform(rows.astype(np.float64)),
    }
    tensors = {name: np.ascontiguousarray(x, dtype=np.float32) for name, x in tensors.items()}
    FIXTURE.parent.mkdir(exist_ok=True)
    save_file(tensors, FIXTURE)


def colours(args: argparse.Namespace) -> None:
    from PIL import Image
    from sklearn.decomposition import PCA

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        features = scratch / "features.safetensors"
        run([args.sweep, "features", *args.images, "--weights", args.weights,
             "--px", str(args.px), "-o", features])
        run([args.sweep, "pca", *args.images, "--weights", args.weights,
             "--px", f"{args.px},{args.px}", "-o", scratch / "pca",
             "--save-basis", scratch / "basis.safetensors"])
        tokens = load_file(features)["patch_tokens"].astype(np.float64)
        basis = load_file(scratch / "basis.safetensors")
        pca = PCA(3, svd_solver="full").fit(tokens.reshape(-1, tokens.shape[-1]))
        worst, side = 0.0, args.px // PATCH
        for i, (ours, theirs) in enumerate(zip(basis["components"], pca.components_)):
            sign = np.sign(ours @ theirs)
            values = (tokens - pca.mean_) @ (sign * theirs)
            mine = (tokens - basis["mean"].astype(np.float64)) @ ours.astype(np.float64)
            low, high = values.min(), values.max()
            worst = max(worst, np.abs(values - mine).max() / (high - low))
            for image, value in zip(args.images, values):
                picture = Image.open(scratch / "pca" / f"{image.stem}.png")
                expect = np.round(255 * (value.reshape(side, side) - low) / (high - low))
                rows, columns = (
                    (np.arange(n) * side // n) for n in (picture.height, picture.width)
                )
                found = np.asarray(picture)[..., i].astype(int)
                off = np.abs(found - expect[rows][:, columns])
                print(f"{image.name}, component {i + 1}: colours off by at most {off.max():.0f}")
        print(f"values off by at most {worst:.1e} of their range")
        raise SystemExit(bool(worst > 1e-4))


def video(args: argparse.Namespace) -> None:
    if args.plain:
        return plain(args)
    size = probe(args.video)
    for name in ["ours", "plain"]:
        if name == "ours":
            command = [args.sweep, "-q", "pca", args.video, "--weights", args.weights,
                       "--px", f"{args.px[0]},{args.px[1]}", "-o", args.output / "ours"]
        else:
            command = [sys.executable, __file__, "video", "--plain", args.video,
                       "--weights", args.weights, "--px", *args.px, "--output", args.output]
        began = time.perf_counter()
        run(["/usr/bin/env", "time", "-f", "%M", "-o", args.output / "kb", *command])
        took = time.perf_counter() - began
        kb = int((args.output / "kb").read_text().split()[-1])
        print(f"{name:6} {took:7.1f} s  {kb / 1024:6.0f} MiB  frames of {size[0]}x{size[1]}")


def plain(args: argparse.Namespace) -> None:
    import torch
    from sklearn.decomposition import PCA
    from transformers import AutoModel

    torch.set_num_threads(2)
    (width, height), rate = probe(args.video), probe_rate(args.video)
    model = AutoModel.from_pretrained(args.weights, dtype=torch.float32).eval()
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
    tokens = []
    with torch.no_grad():
        for batch in batches(frames(args.video, width, height), 8):
            x = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
            x = torch.nn.functional.interpolate(
                x, size=tuple(args.px), mode="bilinear", antialias=True, align_corners=False
            )
            out = model((x - mean) / std).last_hidden_state[:, 1:]
            tokens.append(out.numpy())
    tokens = np.concatenate(tokens)
    values = PCA(3).fit_transform(tokens.reshape(-1, tokens.shape[-1]))
    low, high = values.min(0), values.max(0)
    rows, columns = args.px[0] // PATCH, args.px[1] // PATCH
    small = np.round(255 * (values - low) / (high - low)).astype(np.uint8)
    small = small.reshape(-1, rows, columns, 3)
    writer = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
         f"{width}x{height}", "-r", rate, "-i", "-", "-c:v", "libx264", "-crf", "18",
         "-pix_fmt", "yuv420p", str(args.output / "plain.mp4")],
        stdin=subprocess.PIPE,
    )
    ys, xs = np.arange(height) * rows // height, np.arange(width) * columns // width
    for frame in small:
        writer.stdin.write(np.ascontiguousarray(frame[ys][:, xs]).tobytes())
    writer.stdin.close()
    assert writer.wait() == 0


def flicker(args: argparse.Namespace) -> None:
    width, height = probe(args.video)
    for made in args.made:
        changes, before = [], None
        for source, picture in zip(frames(args.video, width, height), frames(made, width, height)):
            source, picture = source.astype(int), picture.astype(int)
            if before is not None:
                static = np.abs(source - before[0]).max(-1) <= STATIC
                if static.any():
                    changes.append(np.abs(picture - before[1])[static].mean())
            before = source, picture
        print(f"{made}: {np.mean(changes):.2f} of 255 a frame where the input changes by at most "
              f"{STATIC}, worst frame {np.max(changes):.2f}")


def frames(path: Path, width: int, height: int):
    reader = subprocess.Popen(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-f", "rawvideo",
         "-pix_fmt", "rgb24", "-"],
        stdout=subprocess.PIPE,
    )
    n = width * height * 3
    while len(data := reader.stdout.read(n)) == n:
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
    assert reader.wait() == 0


def batches(items, n: int):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == n:
            yield batch
            batch = []
    if batch:
        yield batch


def probe(path: Path) -> tuple[int, int]:
    found = json.loads(subprocess.check_output(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "json", "-show_entries",
         "stream=width,height", str(path)]))
    return found["streams"][0]["width"], found["streams"][0]["height"]


def probe_rate(path: Path) -> str:
    found = json.loads(subprocess.check_output(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "json", "-show_entries",
         "stream=r_frame_rate", str(path)]))
    return found["streams"][0]["r_frame_rate"]


def run(command: list) -> None:
    subprocess.run([str(word) for word in command], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(required=True)
    kinds.add_parser("fixture").set_defaults(run=fixture)
    kind = kinds.add_parser("colours")
    kind.set_defaults(run=colours)
    kind.add_argument("images", type=Path, nargs="+")
    kind.add_argument("--px", type=int, default=518)
    kind.add_argument("--sweep", type=Path, required=True)
    kind.add_argument("--weights", type=Path, required=True)
    kind = kinds.add_parser("video")
    kind.set_defaults(run=video)
    kind.add_argument("video", type=Path)
    kind.add_argument("--px", type=int, nargs=2, default=(266, 630))
    kind.add_argument("--sweep", type=Path)
    kind.add_argument("--weights", type=Path, required=True, help="Hugging Face folder")
    kind.add_argument("--output", type=Path, required=True, help="a folder that is there")
    kind.add_argument("--plain", action="store_true", help="only the plain script, here")
    kind = kinds.add_parser("flicker")
    kind.set_defaults(run=flicker)
    kind.add_argument("video", type=Path, help="the input")
    kind.add_argument("made", type=Path, nargs="+", help="videos of its colours")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
