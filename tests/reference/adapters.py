"""The reference project's adapter files through ours and back, bit for bit, read by the reference
project's own loader; and the logits that its code and ours give for them.

Adapters are made by its code (linear and FPN, with and without LoRA, BatchNorm statistics
included), and may be given as files (`dinov2_large_*.pt`, `dinov3_large_*.pt`: its published ones).
Encoders have random weights.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import official
import program
import torch
from safetensors.torch import load_file, save_file

# Over the largest logit.
LIMIT = 1e-4
N_CLASSES = 21


@dataclass(frozen=True)
class Encoder:
    name: str
    model: torch.nn.Module
    size: tuple[int, int]
    weights: Path
    source: Path

    @staticmethod
    def make(name: str, model: torch.nn.Module, size: tuple[int, int], scratch: Path) -> "Encoder":
        official.randomise(model, seed=1)
        weights, source = scratch / f"{name}.pth", scratch / f"{name}_input.safetensors"
        torch.save(model.state_dict(), weights)
        image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(2))
        save_file({"input": image}, source)
        return Encoder(name, model, size, weights, source)

    def network(self, n_classes: int, lora: bool, fpn: bool) -> torch.nn.Module:
        from model.dino import DINOEncoderLoRA

        # Its LoRA replaces the blocks' own linear layers: they are put back first.
        for block in self.model.blocks:
            block.attn.qkv = getattr(block.attn.qkv, "qkv", block.attn.qkv)
        network = DINOEncoderLoRA(
            self.model,
            r=3,
            emb_dim=self.model.embed_dim,
            n_classes=n_classes,
            use_lora=lora,
            use_fpn=fpn,
            img_dim=self.size,
        )
        return network.eval()


@torch.no_grad()
def randomise(network: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for linear in getattr(network, "w_b", []):
        linear.weight.normal_(std=0.02, generator=generator)
    for name, tensor in network.decoder.state_dict().items():
        if name.endswith("running_mean") or name.endswith("1.bias"):
            tensor.normal_(std=0.1, generator=generator)
        elif name.endswith("running_var") or name.endswith("1.weight"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(1234)


def sweep(binary: Path, *args: object) -> None:
    subprocess.run([str(binary), *map(str, args)], check=True, capture_output=True)


def differing(a: dict, b: dict) -> list[str]:
    """Names of tensors that are not the same bits."""
    if a.keys() != b.keys():
        return sorted(a.keys() ^ b.keys())
    same = {
        name: a[name].dtype == b[name].dtype
        and a[name].shape == b[name].shape
        and a[name].detach().numpy().tobytes() == b[name].detach().numpy().tobytes()
        for name in a
    }
    return [name for name, equal in same.items() if not equal]


@torch.no_grad()
def check(binary: Path, file: Path, encoder: Encoder, fpn: bool, scratch: Path) -> bool:
    state = torch.load(file, map_location="cpu")
    lora = "w_a_000" in state
    n_classes = state["conv5.1.bias" if fpn else "classifier.bias"].shape[0]
    ours, back = scratch / "ours.safetensors", scratch / "back.pt"
    sweep(
        binary, "adapter", "convert", file, "--to", "sweep", "--output", ours,
        "--backbone", encoder.name,
    )  # fmt: skip
    sweep(binary, "adapter", "convert", ours, "--to", "reference", "--output", back)
    differ = differing(state, torch.load(back))

    network = encoder.network(n_classes, lora, fpn)
    network.load_parameters(back)
    expected = network(load_file(encoder.source)["input"])
    worst = 0.0
    for adapter in (file, ours, back):
        output = scratch / "features.safetensors"
        options = ("--adapter", str(adapter), "--variant", encoder.name)
        got = program.features(binary, encoder.source, encoder.weights, [], output, *options)
        logits = torch.nn.functional.interpolate(
            got["logits"], size=encoder.size, mode="bilinear", align_corners=False
        )
        worst = max(worst, program.difference(logits, expected)[1])
    bits = "differs in " + ", ".join(differ) if differ else "equal bits"
    print(f"{file.name:32} {encoder.name:18} {len(state)} tensors, {bits}; logits {worst:.1e}")
    return not differ and worst < LIMIT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    official.add_arguments(parser)
    parser.add_argument("--sweep", type=Path, required=True, help="the program")
    parser.add_argument("--reference", type=Path, required=True, help="dinov2-finetune checkout")
    parser.add_argument("--adapters", type=Path, help="folder of published adapters, for ViT-L")
    args = parser.parse_args()
    official.put_on_path(args)
    sys.path.insert(0, str(args.reference / "dino_finetune"))
    torch.set_num_threads(2)

    ok = True
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        small = Encoder.make(
            "dinov2_vits14_reg", official.dinov2(384, 12, 6, registers=4), (140, 196), scratch
        )
        for lora in (True, False):
            for fpn in (False, True):
                torch.manual_seed(0)
                network = small.network(N_CLASSES, lora, fpn)
                randomise(network)
                name = f"{'fpn' if fpn else 'linear'}{'_lora' if lora else ''}.pt"
                network.save_parameters(scratch / name)
                ok &= check(args.sweep, scratch / name, small, fpn, scratch)
        if args.adapters:
            large = {
                "dinov2_vitl14_reg": lambda: official.dinov2(1024, 24, 16, registers=4),
                "dinov3_vitl16": lambda: official.dinov3(1024, 24, 16),
            }
            for name, build in large.items():
                encoder = Encoder.make(name, build(), (112, 112), scratch)
                family = name.split("_")[0]
                for file in sorted(args.adapters.glob(f"{family}_large_*.pt")):
                    ok &= check(args.sweep, file, encoder, False, scratch)
    raise SystemExit(not ok)


if __name__ == "__main__":
    main()
