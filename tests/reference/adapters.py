"""Adapter files between this program and RobvanGastel/dinov2-finetune, by that project's own code.

Its `DINOEncoderLoRA` saves adapters (random, linear and FPN, with and without LoRA, at ViT-L's
sizes); `sweep adapter convert` takes each to our format and back; its `load_parameters` reads what
came back, and every tensor must be as it was, bit for bit. Further `.pt` files can be named.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(dim, 3 * dim)


class Encoder(nn.Module):
    """As much of a ViT as the reference project's class looks at."""

    patch_size = 14

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))


def convert(sweep: Path, source: Path, to: str, output: Path) -> None:
    command = [sweep, "adapter", "convert", source, "--to", to, "--output", output]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        type(first[k]) is type(second[k])
        and first[k].dtype == second[k].dtype
        and torch.equal(first[k], second[k])
        for k in first
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path, required=True, help="the program")
    parser.add_argument("--reference", type=Path, required=True, help="a clone of dinov2-finetune")
    parser.add_argument("files", type=Path, nargs="*", help="adapters to try as well")
    args = parser.parse_args()
    # Its package imports what only its data loading needs; the model's files need torch alone.
    sys.path.insert(0, str(args.reference / "dino_finetune"))
    from model.dino import DINOEncoderLoRA

    def network(lora: bool, fpn: bool, n_classes: int) -> nn.Module:
        sizes = dict(r=3, emb_dim=1024, n_classes=n_classes, img_dim=(490, 490))
        return DINOEncoderLoRA(Encoder(1024, 24), use_lora=lora, use_fpn=fpn, **sizes)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        sources = []
        for lora in (False, True):
            for fpn in (False, True):
                torch.manual_seed(0)
                made = network(lora, fpn, 21)
                for linear in made.w_b if lora else []:
                    nn.init.normal_(linear.weight)
                path = scratch / f"{'lora' if lora else 'frozen'}_{'fpn' if fpn else 'linear'}.pt"
                made.save_parameters(str(path))
                sources.append(path)
        failed = 0
        for source in sources + args.files:
            ours, back = scratch / "ours.safetensors", scratch / "back.pt"
            convert(args.sweep, source, "sweep", ours)
            convert(args.sweep, ours, "reference", back)
            before = torch.load(source, map_location="cpu", weights_only=True)
            after = torch.load(back, weights_only=True)
            fpn = "conv1.0.weight" in before
            head = before["conv5.0.weight" if fpn else "classifier.weight"]
            loaded = network("w_a_000" in before, fpn, head.shape[0])
            loaded.load_parameters(str(back))
            again = scratch / "again.pt"
            loaded.save_parameters(str(again))
            ok = same(before, after) and same(before, torch.load(again, weights_only=True))
            failed += not ok
            print(f"{source.name}: {len(before)} tensors, {'equal' if ok else 'NOT EQUAL'}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
