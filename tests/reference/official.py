"""The official encoders, from checkouts of facebookresearch/dinov2 and facebookresearch/dinov3."""

import argparse
import sys
import warnings
from functools import partial
from pathlib import Path

import torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dinov2", type=Path, required=True, help="checkout of dinov2")
    parser.add_argument("--dinov3", type=Path, required=True, help="checkout of dinov3")


def put_on_path(args: argparse.Namespace) -> None:
    sys.path[:0] = [str(args.dinov2), str(args.dinov3)]
    warnings.filterwarnings("ignore", message="xFormers is not available")


def dinov2(
    dim: int,
    depth: int,
    heads: int,
    ffn: str = "mlp",
    registers: int = 0,
) -> torch.nn.Module:
    """Every released plain model has offset 0.1 without antialias, every one with registers
    antialias without offset."""
    from dinov2.layers import MemEffAttention, NestedTensorBlock
    from dinov2.models.vision_transformer import DinoVisionTransformer

    return DinoVisionTransformer(
        img_size=518,
        patch_size=14,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=4,
        block_fn=partial(NestedTensorBlock, attn_class=MemEffAttention),
        ffn_layer=ffn,
        init_values=1.0,
        block_chunks=0,
        num_register_tokens=registers,
        interpolate_antialias=registers > 0,
        interpolate_offset=0.0 if registers > 0 else 0.1,
    ).eval()


def dinov3(
    dim: int,
    depth: int,
    heads: int,
    ffn: str = "mlp",
    ratio: float = 4,
    qkv_bias: bool = True,
    untie_local: bool = False,
) -> torch.nn.Module:
    from dinov3.models.vision_transformer import DinoVisionTransformer

    model = DinoVisionTransformer(
        patch_size=16,
        pos_embed_rope_base=100,
        pos_embed_rope_normalize_coords="separate",
        pos_embed_rope_rescale_coords=2,
        pos_embed_rope_dtype="fp32",
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        ffn_ratio=ratio,
        qkv_bias=qkv_bias,
        layerscale_init=1e-5,
        norm_layer="layernormbf16",
        ffn_layer=ffn,
        n_storage_tokens=4,
        mask_k_bias=qkv_bias,
        untie_global_and_local_cls_norm=untie_local,
    )
    model.init_weights()
    return model.eval()


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights of the size that trained ones have, LayerScale in 0.5 to 1.5, so that every tensor
    of every block moves the result."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.named_parameters():
        noise = torch.empty(tensor.shape).normal_(generator=generator)
        if name.endswith("gamma"):
            tensor.copy_(torch.empty(tensor.shape).uniform_(0.5, 1.5, generator=generator))
        elif "norm" in name and name.endswith("weight"):
            tensor.copy_(1 + 0.1 * noise)
        elif name.endswith("bias"):
            tensor.copy_(0.1 * noise)
        elif "token" in name or name == "pos_embed":
            tensor.copy_(0.2 * noise)
        else:
            fan_in = tensor[0].numel()
            tensor.copy_(noise * fan_in**-0.5)
