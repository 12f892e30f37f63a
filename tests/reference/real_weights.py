"""A trained DINOv2 ViT-S/14 on a photo at 518x518: transformers against ours, from the Hugging
Face folder and from an official-named `.pth` of the same weights.

At 518 px transformers and the official code agree for models without registers; elsewhere they do
not (the offset of 0.1), so this compares at 518 px alone.
"""

import argparse
import tempfile
from pathlib import Path

import program
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoModel
from torchvision.transforms.functional import normalize, pil_to_tensor

LIMIT = 1e-3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path, required=True, help="the program")
    parser.add_argument("--weights", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--pth", type=Path, help="the same weights, official names")
    parser.add_argument("--photo", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(2)

    photo = Image.open(args.photo).convert("RGB").resize((518, 518), Image.Resampling.BICUBIC)
    image = normalize(pil_to_tensor(photo).float() / 255, MEAN, STD)[None]
    model = AutoModel.from_pretrained(args.weights, dtype=torch.float32).eval()
    with torch.no_grad():
        out = model(image, output_hidden_states=True)
        hidden = {i: model.layernorm(out.hidden_states[i])[:, 1:] for i in (3, 6, 9, 12)}
    expected = {
        "patch_tokens": out.last_hidden_state[:, 1:],
        "class_token": out.last_hidden_state[:, 0],
        **{f"layer.{i}": tokens for i, tokens in hidden.items()},
    }

    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "input.safetensors"
        save_file({"input": image.contiguous()}, source)
        for file in [args.weights, args.pth]:
            if file is None:
                continue
            output = Path(scratch) / "features.safetensors"
            ours = program.features(args.sweep, source, file, list(hidden), output)
            for name, theirs in expected.items():
                absolute, relative = program.difference(ours[name], theirs)
                failed |= absolute > LIMIT
                print(f"{file.name:24} {name:14} off by {absolute:.1e}, relative {relative:.1e}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
