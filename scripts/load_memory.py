#!/usr/bin/env python3
"""Measures how much memory loading a ViT-L takes, compared with the model's own size.

Writes random weights of a DINOv2 ViT-L/14 with registers (1.2 GB) as safetensors in official names
and, where torch is installed, as `.pth` (zip and legacy pickle); runs
`sweep weights inspect --load FILE` on each, reads VmHWM and RssAnon from /proc while it works, and
prints the largest anonymous memory over the size of the weights. Exits with 1 above the limit.

usage: scripts/load_memory.py SWEEP [--dir FOLDER] [--limit 1.3] [--bf16]
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

DIM, DEPTH, HIDDEN, PATCH, TOKENS = 1024, 24, 4096, 14, 1 + 37 * 37


def shapes():
    yield "cls_token", (1, 1, DIM)
    yield "mask_token", (1, DIM)
    yield "register_tokens", (1, 4, DIM)
    yield "pos_embed", (1, TOKENS, DIM)
    yield "patch_embed.proj.weight", (DIM, 3, PATCH, PATCH)
    yield "patch_embed.proj.bias", (DIM,)
    layers = {"attn.qkv": (3 * DIM, DIM), "attn.proj": (DIM, DIM), "mlp.fc1": (HIDDEN, DIM),
              "mlp.fc2": (DIM, HIDDEN)}
    for i in range(DEPTH):
        for k in (1, 2):
            yield f"blocks.{i}.norm{k}.weight", (DIM,)
            yield f"blocks.{i}.norm{k}.bias", (DIM,)
            yield f"blocks.{i}.ls{k}.gamma", (DIM,)
        for name, shape in layers.items():
            yield f"blocks.{i}.{name}.weight", shape
            yield f"blocks.{i}.{name}.bias", shape[:1]
    yield "norm.weight", (DIM,)
    yield "norm.bias", (DIM,)


def size(shape):
    n = 1
    for side in shape:
        n *= side
    return n


def write_safetensors(path, bits):
    """Random f32 (or bf16) values of magnitude about 1: the exponent's byte is set."""
    width, header, offset = bits // 8, {}, 0
    for name, shape in shapes():
        end = offset + width * size(shape)
        dtype = {16: "BF16", 32: "F32"}[bits]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    noise = bytearray(random.Random(0).randbytes(4 << 20))
    noise[width - 1::width] = b"\x3c" * len(noise[width - 1::width])
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _, shape in shapes():
            left = width * size(shape)
            while left > 0:
                file.write(noise[:left])
                left -= min(left, len(noise))


def write_pth(path, legacy):
    import torch

    state = {name: torch.full(shape, 0.02) for name, shape in shapes()}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)


def status(pid):
    """Fields of the process's status in kB by name; empty once the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[-1:] == ["kB"]}


def measure(sweep, path):
    process = subprocess.Popen([sweep, "weights", "inspect", "--load", path],
                               stdout=subprocess.PIPE, text=True)
    anonymous, peak = 0, 0
    while process.poll() is None:
        now = status(process.pid)
        anonymous = max(anonymous, now.get("RssAnon", 0))
        peak = max(peak, now.get("VmHWM", 0))
        time.sleep(0.003)
    output = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"{path}: exit code {process.returncode}\n{output}")
    loaded = next(line for line in output.splitlines() if line.startswith("loaded"))
    return anonymous * 1024, peak * 1024, " ".join(loaded.split()[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep")
    parser.add_argument("--dir", help="where 1.2 GB at a time are written")
    parser.add_argument("--limit", type=float, default=1.3)
    parser.add_argument("--bf16", action="store_true", help="also a bf16 file")
    args = parser.parse_args()
    model = 4 * sum(size(shape) for name, shape in shapes() if name != "mask_token")
    writers = {"f32.safetensors": lambda path: write_safetensors(path, 32)}
    if args.bf16:
        writers["bf16.safetensors"] = lambda path: write_safetensors(path, 16)
    try:
        import torch  # noqa: F401

        writers["zip.pth"] = lambda path: write_pth(path, legacy=False)
        writers["legacy.pth"] = lambda path: write_pth(path, legacy=True)
    except ImportError:
        print("no torch: .pth is not measured")
    is_over = False
    for name, write in writers.items():
        with tempfile.TemporaryDirectory(dir=args.dir) as folder:
            path = pathlib.Path(folder) / name
            write(path)
            anonymous, peak, loaded = measure(args.sweep, path)
        ratio = anonymous / model
        is_over |= ratio > args.limit
        print(f"{name}: model {model / 1e6:.0f} MB, anonymous at most {anonymous / 1e6:.0f} MB "
              f"({ratio:.3f}x), VmHWM {peak / 1e6:.0f} MB ({peak / model:.3f}x); {loaded}")
    sys.exit(1 if is_over else 0)


main()
