"""Runs `sweep features` on every file that make_models.py wrote and compares with the official
code's outputs: patch tokens, class token and intermediate layers, all normed."""

import argparse
import json
import tempfile
from pathlib import Path

import program
import torch
from safetensors.torch import load_file

# Over the largest entry. PyTorch's own f32 is within 1e-5 of f64.
LIMIT = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path, required=True, help="the program")
    parser.add_argument("--models", type=Path, required=True, help="folder of make_models.py")
    parser.add_argument("--only", nargs="+", help="models by name")
    parser.add_argument("--files", nargs="+", help="file names; all if left out")
    args = parser.parse_args()
    torch.set_num_threads(2)
    failed = 0
    print("| model | file | input | patches | class | layers | relative | |")
    print("|---|---|---|---:|---:|---:|---:|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for about in sorted(args.models.glob("*/model.json")):
            model = json.loads(about.read_text())
            if args.only and model["name"] not in args.only:
                continue
            for file in model["files"]:
                if args.files and file not in args.files:
                    continue
                for height, width in model["sizes"]:
                    failed += not check(args, model, file, f"{height}x{width}", Path(scratch))
    print(f"{failed} failed" if failed else "all equal")
    raise SystemExit(failed > 0)


def check(args: argparse.Namespace, model: dict, file: str, size: str, scratch: Path) -> bool:
    folder = args.models / model["name"]
    row = f"| {model['name']} ({model['depth']} blocks) | {file} | {size} |"
    expected = load_file(folder / f"expected_{size}.safetensors")
    try:
        ours = program.features(
            args.sweep,
            args.models / f"input_{size}.safetensors",
            folder / file,
            model["layers"],
            scratch / "features.safetensors",
        )
        off = {name: program.difference(ours[name], expected[name]) for name in expected}
    except (RuntimeError, KeyError) as error:
        print(f"{row} | | | | **failed**: {error} |", flush=True)
        return False
    layers = max(absolute for name, (absolute, _) in off.items() if name.startswith("layer."))
    relative = max(relative for _, relative in off.values())
    verdict = "ok" if relative < LIMIT else "**differs**"
    patches, class_token = off["patch_tokens"][0], off["class_token"][0]
    print(
        f"{row} {patches:.1e} | {class_token:.1e} | {layers:.1e} | {relative:.1e} | {verdict} |",
        flush=True,
    )
    return relative < LIMIT


if __name__ == "__main__":
    main()
