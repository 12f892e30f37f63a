"""Writes models of real size with random weights, as each kind of file there is, and what the
official code gives for them: FOLDER/<model>/{official.pth, hf/, hf_sharded/, timm.safetensors,
expected_<size>.safetensors, model.json} and FOLDER/input_<size>.safetensors.

transformers and timm load what is written and are compared with the official code too. For plain
DINOv2 they differ from it away from 518 px, where they leave out the offset of 0.1.
"""

import argparse
import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import official
import timm
import torch
from safetensors.torch import save_file
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
)
from transformers.utils import logging


@dataclass(frozen=True)
class Spec:
    """One model; `depth` is less than the released one's where that would not fit."""

    family: str
    dim: int
    depth: int
    heads: int
    timm: str
    ffn: str = "mlp"
    ratio: float = 4
    registers: int = 4
    qkv_bias: bool = True
    # timm's models without `_qkvb` have no bias: released weights hold zeros there.
    zero_bias: bool = False
    untie_local: bool = False
    dtype: torch.dtype = torch.float32
    sizes: tuple[tuple[int, int], ...] = ()


V2_SIZES = ((224, 224), (518, 518), (224, 322))
V3_SIZES = ((224, 224), (512, 512), (224, 320))


def v2(*args, **options) -> Spec:
    return Spec("dinov2", *args, **{"sizes": V2_SIZES, **options})


def v3(*args, **options) -> Spec:
    return Spec("dinov3", *args, **{"sizes": V3_SIZES, **options})


SWIGLU = {"ffn": "swiglu", "ratio": 6}
MODELS = {
    "dinov2_vits14": v2(384, 12, 6, "vit_small_patch14_dinov2", registers=0),
    "dinov2_vits14_reg": v2(384, 12, 6, "vit_small_patch14_reg4_dinov2"),
    "dinov2_vitb14": v2(768, 12, 12, "vit_base_patch14_dinov2", registers=0),
    "dinov2_vitb14_reg": v2(768, 12, 12, "vit_base_patch14_reg4_dinov2"),
    "dinov2_vitg14_reg": v2(
        1536, 4, 24, "vit_giant_patch14_reg4_dinov2", ffn="swiglufused", sizes=V2_SIZES[:1]
    ),
    "dinov3_vits16": v3(384, 12, 6, "vit_small_patch16_dinov3_qkvb"),
    "dinov3_vits16plus": v3(384, 12, 6, "vit_small_plus_patch16_dinov3_qkvb", **SWIGLU),
    "dinov3_vitb16": v3(768, 12, 12, "vit_base_patch16_dinov3", zero_bias=True),
    "dinov3_vith16plus": v3(
        1280, 4, 20, "vit_huge_plus_patch16_dinov3", **SWIGLU, zero_bias=True
    ),
    "dinov3_vit7b16": v3(
        4096,
        2,
        32,
        "vit_7b_patch16_dinov3",
        ffn="swiglu64",
        ratio=3,
        qkv_bias=False,
        untie_local=True,
        dtype=torch.bfloat16,
        sizes=V3_SIZES[:1],
    ),
}


def layers(spec: Spec) -> list[int]:
    """Counted from 1."""
    return [3, 6, 9, 12] if spec.depth == 12 else list(range(1, spec.depth + 1))


def build(spec: Spec, seed: int) -> torch.nn.Module:
    if spec.family == "dinov2":
        model = official.dinov2(spec.dim, spec.depth, spec.heads, spec.ffn, spec.registers)
    else:
        options = (spec.ffn, spec.ratio, spec.qkv_bias, spec.untie_local)
        model = official.dinov3(spec.dim, spec.depth, spec.heads, *options)
    official.randomise(model, seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if spec.zero_bias and name.endswith("qkv.bias"):
                tensor.zero_()
            # The computation is in f32 whatever the file holds.
            tensor.copy_(tensor.to(spec.dtype))
    return model


@torch.no_grad()
def outputs(model: torch.nn.Module, spec: Spec, image: torch.Tensor) -> dict[str, torch.Tensor]:
    taken = model.get_intermediate_layers(image, n=[i - 1 for i in layers(spec)])
    last = model.forward_features(image)
    out = {f"layer.{i}": tokens for i, tokens in zip(layers(spec), taken)}
    out["patch_tokens"] = last["x_norm_patchtokens"]
    out["class_token"] = last["x_norm_clstoken"]
    return {name: tensor.contiguous() for name, tensor in out.items()}


V2_TO_HF = [
    (r"^(cls_token|mask_token|register_tokens)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
    (r"^blocks\.", "encoder.layer."),
    (r"attn\.qkv", "attention.attention.qkv"),
    (r"attn\.proj", "attention.output.dense"),
    (r"ls(\d)\.gamma", r"layer_scale\1.lambda1"),
    (r"mlp\.w12", "mlp.weights_in"),
    (r"mlp\.w3", "mlp.weights_out"),
    (r"^norm\.", "layernorm."),
]
V3_TO_HF = [
    (r"^storage_tokens$", "embeddings.register_tokens"),
    (r"^(cls_token|mask_token)$", r"embeddings.\1"),
    (r"^patch_embed\.proj", "embeddings.patch_embeddings"),
    (r"^blocks\.", "layer."),
    (r"attn\.qkv", "attention.qkv"),
    (r"attn\.proj", "attention.o_proj"),
    (r"ls(\d)\.gamma", r"layer_scale\1.lambda1"),
    (r"mlp\.fc1", "mlp.up_proj"),
    (r"mlp\.fc2", "mlp.down_proj"),
    (r"mlp\.w1", "mlp.gate_proj"),
    (r"mlp\.w2", "mlp.up_proj"),
    (r"mlp\.w3", "mlp.down_proj"),
]


def hugging_face_state(model: torch.nn.Module, spec: Spec) -> dict[str, torch.Tensor]:
    """The official weights in the names of Hugging Face's files."""
    v3 = spec.family == "dinov3"
    parts = ["q_proj", "k_proj", "v_proj"] if v3 else ["query", "key", "value"]
    out = {}
    for name, tensor in model.state_dict().items():
        if re.search(r"periods$|bias_mask$|^local_cls_norm", name):
            continue
        if v3 and name == "mask_token":
            tensor = tensor.unsqueeze(0)
        for pattern, replacement in V3_TO_HF if v3 else V2_TO_HF:
            name = re.sub(pattern, replacement, name)
        if ".qkv." in name:
            for part, third in zip(parts, tensor.chunk(3)):
                if not (v3 and part == "k_proj" and name.endswith("bias")):
                    out[name.replace("qkv", part)] = third
        else:
            out[name] = tensor
    return {name: tensor.to(spec.dtype).contiguous() for name, tensor in out.items()}


def hugging_face_class(spec: Spec):
    common = {
        "hidden_size": spec.dim,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
    }
    if spec.family == "dinov2":
        common |= {
            "image_size": 518,
            "patch_size": 14,
            "use_swiglu_ffn": spec.ffn == "swiglufused",
        }
        if spec.registers:
            config = Dinov2WithRegistersConfig(num_register_tokens=spec.registers, **common)
            return Dinov2WithRegistersModel, config
        return Dinov2Model, Dinov2Config(**common)
    gated = spec.ffn != "mlp"
    # SwiGLU's hidden size is two thirds of the ratio's, rounded up to a multiple.
    hidden = int(spec.dim * spec.ratio * (2 / 3 if gated else 1))
    config = DINOv3ViTConfig(
        intermediate_size=hidden,
        num_register_tokens=spec.registers,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        query_bias=spec.qkv_bias,
        value_bias=spec.qkv_bias,
        **common,
    )
    return DINOv3ViTModel, config


def write_hugging_face(
    model: torch.nn.Module, spec: Spec, folder: Path, sharded: bool
) -> PreTrainedModel:
    """Folders as transformers itself writes them, in a single file and in shards."""
    kind, config = hugging_face_class(spec)
    single = folder / "hf"
    single.mkdir(exist_ok=True)
    config.save_pretrained(single)
    save_file(
        hugging_face_state(model, spec), single / "model.safetensors", metadata={"format": "pt"}
    )
    loaded, info = kind.from_pretrained(single, dtype=spec.dtype, output_loading_info=True)
    problems = {key: value for key, value in info.items() if value}
    assert not problems, f"transformers cannot load what was written: {problems}"
    loaded.save_pretrained(single)
    if sharded:
        n_bytes = sum(p.numel() * p.element_size() for p in loaded.parameters())
        loaded.save_pretrained(folder / "hf_sharded", max_shard_size=n_bytes // 3)
    return loaded.float().eval()


def write_timm(model: torch.nn.Module, spec: Spec, folder: Path) -> torch.nn.Module:
    """The file as timm's own conversion gives it."""
    options = {"img_size": 518} if spec.family == "dinov2" else {}
    theirs = timm.create_model(
        spec.timm, depth=spec.depth, num_classes=0, dynamic_img_size=True, **options
    )
    module = timm.models.vision_transformer if spec.family == "dinov2" else timm.models.eva
    # It prints a line for every bias that the model has no place for.
    with contextlib.redirect_stdout(None):
        state = module.checkpoint_filter_fn(model.state_dict(), theirs)
    theirs.load_state_dict(state)
    state = {name: tensor.to(spec.dtype) for name, tensor in theirs.state_dict().items()}
    save_file(state, folder / "timm.safetensors")
    return theirs.eval()


def write_official(model: torch.nn.Module, spec: Spec, folder: Path, files: list[str]) -> None:
    state = {
        name: tensor if name.endswith("periods") else tensor.to(spec.dtype)
        for name, tensor in model.state_dict().items()
    }
    torch.save(state, folder / "official.pth")
    if "official_legacy.pth" in files:
        legacy = folder / "official_legacy.pth"
        torch.save(state, legacy, _use_new_zipfile_serialization=False)
    if "official.safetensors" in files:
        save_file(state, folder / "official.safetensors")


def kinds(spec: Spec) -> list[str]:
    """The kinds of file to write: all of them for small models, 7B in shards as it is released."""
    files = ["official.pth", "hf", "timm.safetensors"]
    if spec.dim == 384:
        files += ["official_legacy.pth", "official.safetensors"]
    if spec.dim in (384, 4096):
        files += ["hf_sharded"]
    return files


def input_path(folder: Path, size: tuple[int, int]) -> Path:
    return folder / f"input_{size[0]}x{size[1]}.safetensors"


def image(size: tuple[int, int]) -> torch.Tensor:
    """Noise of several scales, one batch of two at small sizes."""
    generator = torch.Generator().manual_seed(size[0] * 1000 + size[1])
    n = 2 if size[0] < 300 else 1
    out = torch.zeros(n, 3, *size)
    for side in (4, 16, 64):
        noise = torch.randn(n, 3, side, side, generator=generator)
        out += torch.nn.functional.interpolate(noise, size=size, mode="bilinear")
    return out.clamp(-2.2, 2.7)


@torch.no_grad()
def write(name: str, spec: Spec, folder: Path, seed: int) -> None:
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    model = build(spec, seed)
    files = kinds(spec)
    write_official(model, spec, target, files)
    hugging_face = write_hugging_face(model, spec, target, "hf_sharded" in files)
    theirs = write_timm(model, spec, target)
    for size in spec.sizes:
        x = image(size)
        save_file({"input": x}, input_path(folder, size))
        expected = outputs(model, spec, x)
        save_file(expected, target / f"expected_{size[0]}x{size[1]}.safetensors")
        tokens = expected["patch_tokens"]
        others = {
            "transformers": hugging_face(x).last_hidden_state[:, 1 + spec.registers :],
            "timm": theirs.forward_features(x)[:, 1 + spec.registers :],
        }
        plain = spec.family == "dinov2" and not spec.registers
        for what, other in others.items():
            off = ((other - tokens).abs().max() / tokens.abs().max()).item()
            print(f"{name:18} {size[0]}x{size[1]} {what:12} off by {off:.1e}", flush=True)
            assert off < 1e-4 or (plain and size != (518, 518)), "the file is not the model"
    about = {
        "name": name,
        "depth": spec.depth,
        "layers": layers(spec),
        "sizes": spec.sizes,
        "files": files,
    }
    (target / "model.json").write_text(json.dumps(about, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    official.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder, about 10 GB")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    args = parser.parse_args()
    official.put_on_path(args)
    torch.set_num_threads(2)
    logging.disable_progress_bar()
    for seed, name in enumerate(MODELS):
        if name in args.models:
            write(name, MODELS[name], args.output, seed)


if __name__ == "__main__":
    main()
