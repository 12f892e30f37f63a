#!/usr/bin/env python3
"""Writes the tiny fixtures `formats/tiny_*`: needs torch, timm 1.0.31, safetensors and numpy.

Weights are random, rounded to the file's type first, so that the expected tokens are timm's own for
just these weights. The input is a formula that tests/formats.rs has too."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "formats")


def v2(**kwargs):
    return VisionTransformer(
        img_size=42, patch_size=14, embed_dim=12, depth=2, num_heads=2, init_values=1.0,
        num_classes=0, global_pool="", norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), **kwargs)


def v3(**kwargs):
    return Eva(
        img_size=48, patch_size=16, embed_dim=8, depth=2, num_heads=1, init_values=1.0,
        num_classes=0, global_pool="", num_reg_tokens=4, rope_type="dinov3", rope_temperature=100,
        use_rot_pos_emb=True, use_abs_pos_emb=False, rope_rotate_half=True, use_fc_norm=False,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-5), **kwargs)


def drawn(model, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in model.state_dict().items():
        noise = 0.3 * torch.randn(value.shape, generator=generator)
        is_scale = name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "gamma"))
        state[name] = (1 + noise if is_scale or "gamma_" in name else noise).to(dtype)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return state


def expected(model, px, registers):
    n = 3 * px * px
    hashed = (np.arange(n, dtype=np.uint64) * 2654435761 % 2**32).astype(np.float64)
    x = torch.tensor((hashed / 2**32 * 4 - 2).astype(np.float32)).reshape(1, 3, px, px)
    with torch.no_grad():
        tokens = model.eval().forward_features(x)
    return {"cls": tokens[:, 0].contiguous(), "patch": tokens[:, 1 + registers:].contiguous()}


def official(state, registers):
    """Of DINOv2 with registers and an MLP: the class token's position is apart again, here zero."""
    state = dict(state)
    dim = state["cls_token"].shape[-1]
    state["mask_token"] = torch.zeros(1, dim, dtype=state["cls_token"].dtype)
    state["register_tokens"] = state.pop("reg_token")
    zero = torch.zeros(1, 1, dim, dtype=state["cls_token"].dtype)
    state["pos_embed"] = torch.cat([zero, state["pos_embed"]], 1)
    return state


def chunked(teacher):
    """Meta's own training output: each block behind the number of its chunk, here one for both."""
    return {k.replace("blocks.", "blocks.0."): v for k, v in teacher.items()}


def main():
    OUT.mkdir(exist_ok=True)
    half, brain = torch.float16, torch.bfloat16
    packed = dict(mlp_layer=SwiGLUPacked, mlp_ratio=8 / 3 * 2, act_layer=torch.nn.SiLU)
    gated = dict(swiglu_mlp=True, swiglu_align_to=8, mlp_ratio=2)
    models = [
        ("timm_v2", v2(), 0, 42, half),
        ("timm_v2_reg", v2(reg_tokens=4, no_embed_class=True), 4, 42, half),
        ("timm_v2_reg_swiglu", v2(reg_tokens=4, no_embed_class=True, **packed), 4, 42, brain),
        ("timm_v3_qkvb", v3(qkv_bias=True), 4, 48, half),
        ("timm_v3_swiglu", v3(qkv_bias=False, **gated), 4, 48, brain),
    ]
    for seed, (name, model, registers, px, dtype) in enumerate(models):
        state = drawn(model, seed, dtype)
        save_file(expected(model, px, registers), OUT / f"tiny_{name}_expected.safetensors")
        save_file({k: v.contiguous() for k, v in state.items()}, OUT / f"tiny_{name}.safetensors")
        if name == "timm_v2_reg":
            plain = official(state, registers)
            torch.save(plain, OUT / "tiny_legacy.pth", _use_new_zipfile_serialization=False)
            teacher = {f"backbone.{k}": v for k, v in plain.items()}
            teacher["dino_head.last_layer.weight"] = torch.ones(2)
            checkpoint = {"teacher": teacher, "optimizer": {"exp_avg": torch.ones(3)}, "epoch": 7}
            torch.save(checkpoint, OUT / "tiny_teacher.pth")
            torch.save({"teacher": chunked(teacher)}, OUT / "tiny_chunks.pth")
        print(name, {k: tuple(v.shape) for k, v in state.items() if "blocks.1" not in k})


main()
