"""Writes tests/data/steps/losses.json: the losses of 50 AdamW steps of the tiny models of
tests/data/models, trained by the reference project's own LoRA encoder on the official backbones.

Batches are cut out of a photo by a rule (`batch` below, and in tests/steps.rs) and cycled. The
same training in f64 shows how far rounding alone drives the losses apart.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import official
import torch
from PIL import Image
from safetensors.torch import load_file

DATA = Path(__file__).parent.parent / "data"
N_STEPS = 50
N_BATCHES = 4
BATCH_SIZE = 2
VOID = 255


def backbone(meta: dict) -> torch.nn.Module:
    c = meta["config"]
    if meta["family"] == "dinov2":
        return official.dinov2(c["dim"], c["depth"], c["heads"], c["ffn"], c["reg"])
    options = {key: c[key] for key in ("ratio", "qkv_bias", "untie_local") if key in c}
    return official.dinov3(c["dim"], c["depth"], c["heads"], c["ffn"], **options)


def batch(photo: np.ndarray, index: int, size: tuple[int, int], n_classes: int):
    """Windows of the photo, which repeats in both directions; a pixel's class is its green."""
    images, targets = [], []
    for k in range(BATCH_SIZE * index, BATCH_SIZE * (index + 1)):
        rows = (17 * k + np.arange(size[0])) % photo.shape[0]
        columns = (29 * k + np.arange(size[1])) % photo.shape[1]
        window = photo[rows][:, columns]
        target = window[:, :, 1].astype(np.int64) * n_classes // 256
        target[np.add.outer(rows, columns) % 11 == 0] = VOID
        images.append(torch.from_numpy(window).permute(2, 0, 1))
        targets.append(torch.from_numpy(target))
    return torch.stack(images), torch.stack(targets)


def losses(folder: Path, name: str, photo: np.ndarray, dtype: torch.dtype) -> list[float]:
    from model.dino import DINOEncoderLoRA
    from model.fpn_decoder import FPNDecoder

    meta = json.loads((folder / "meta.json").read_text())
    case = meta["cases"][name]
    size = tuple(case["image_hw"])
    encoder = backbone(meta)
    encoder.load_state_dict(load_file(folder / "backbone.safetensors"))
    network = DINOEncoderLoRA(
        encoder,
        r=case["r"],
        emb_dim=meta["embed_dim"],
        n_classes=case["n_classes"],
        use_lora=True,
        img_dim=size,
    )
    if case["fpn_out_channels"]:
        network.use_fpn = True
        network.decoder = FPNDecoder(
            meta["embed_dim"], case["fpn_out_channels"], inter_layers=4, n_classes=case["n_classes"]
        )
    network.load_parameters(folder / case["adapter"])
    network.to(dtype)
    network.encoder.eval()
    network.decoder.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
    batches = [batch(photo, i, size, case["n_classes"]) for i in range(N_BATCHES)]
    out = []
    for step in range(N_STEPS):
        images, targets = batches[step % N_BATCHES]
        optimizer.zero_grad()
        logits = network(images.to(dtype) / 255)
        loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=VOID)
        loss.backward()
        optimizer.step()
        out.append(loss.item())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    official.add_arguments(parser)
    parser.add_argument("--reference", type=Path, required=True, help="dinov2-finetune checkout")
    parser.add_argument("--output", type=Path, default=DATA / "steps/losses.json")
    args = parser.parse_args()
    official.put_on_path(args)
    # Its package's __init__ imports what training alone needs; the model's folder does not.
    sys.path.insert(0, str(args.reference / "dino_finetune"))
    torch.set_num_threads(2)

    photo = np.asarray(Image.open(DATA / "corruptions/clean_chelsea_small.png").convert("RGB"))
    table = {}
    for adapter in sorted((DATA / "models").glob("*/adapter_*.pt")):
        case = adapter.stem.removeprefix("adapter_")
        f32 = losses(adapter.parent, case, photo, torch.float32)
        f64 = losses(adapter.parent, case, photo, torch.float64)
        rounding = max(abs(a - b) for a, b in zip(f32, f64))
        name = f"{adapter.parent.name} {case}"
        table[name] = f32
        print(f"{name:20} {f32[0]:.4f} -> {f32[-1]:.4f}, f32 against f64 {rounding:.1e}")
    args.output.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
