#!/usr/bin/env python3
"""Compares our forward pass or training step with PyTorch's, side by side in one run.

    cargo bench --bench model_step --no-run          # builds ours; prints where it lies
    scripts/compare_speed.py --ours target/release/deps/model_step-… [--mode step]

The two programs run in turn (A B A B …), each in a process of its own, so that other load on the
machine meets both. Printed are the medians over the rounds, ours over PyTorch's, and each one's
peak of resident memory, with what PyTorch's has before a model exists beside it.

PyTorch's side is the reference project's network: timm's encoder (its attention calls
`scaled_dot_product_attention`), LoRA added to the fused product's q and v, a 1x1 convolution or the
FPN, `interpolate` to the input's size, `cross_entropy`, AdamW over the trained parameters; eager
mode, f32. Needs torch and timm; random weights, no download.

On a GPU (`--device cuda:0`, with a program built for it), steps are not waited for one by one, and both
may compute in bf16 (`--precision bf16`: PyTorch's autocast) or PyTorch be compiled (`--compile`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

TIMM = {
    "dinov2_vits14_reg": "vit_small_patch14_reg4_dinov2",
    "dinov2_vitb14_reg": "vit_base_patch14_reg4_dinov2",
    "dinov2_vitl14_reg": "vit_large_patch14_reg4_dinov2",
    "dinov3_vits16": "vit_small_patch16_dinov3_qkvb",
    "dinov3_vitb16": "vit_base_patch16_dinov3_qkvb",
}
WARM_UP = 2


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ours", help="our benchmark's program; without it, PyTorch's side only")
    parser.add_argument("--model", default="dinov2_vits14_reg", choices=sorted(TIMM))
    parser.add_argument("--px", type=int, default=308)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rank", type=int, default=3)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--mode", default="step", choices=["forward", "step"])
    parser.add_argument("--tune", default="lora", choices=["frozen", "lora", "full"])
    parser.add_argument("--decoder", default="linear", choices=["linear", "fpn"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="torch.compile on PyTorch's side")
    parser.add_argument("--pytorch-side", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def memory_mib(line):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(l.split()[1]) for l in status if l.startswith(line)) / 1024


def network(args):
    import timm
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Lora(nn.Module):
        """The fused product with an update on its first (q) and last (v) third."""

        def __init__(self, qkv, rank):
            super().__init__()
            self.qkv = qkv
            dim = qkv.in_features
            linear = lambda d_in, d_out: nn.Linear(d_in, d_out, bias=False)
            self.a_q, self.b_q = linear(dim, rank), linear(rank, dim)
            self.a_v, self.b_v = linear(dim, rank), linear(rank, dim)
            nn.init.zeros_(self.b_q.weight)
            nn.init.zeros_(self.b_v.weight)

        def forward(self, x):
            out = self.qkv(x)
            dim = x.shape[-1]
            out[..., :dim] += self.b_q(self.a_q(x))
            out[..., -dim:] += self.b_v(self.a_v(x))
            return out

    class Fpn(nn.Module):
        """Ours: three stages of 128, 64 and 32 channels and a 3x3 classifier, bilinear resizing."""

        def __init__(self, dim, n_classes):
            super().__init__()
            widths = [dim, 128, 64, 32]
            pairs = list(zip(widths, widths[1:]))
            self.convs = nn.ModuleList(
                nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs
            )
            self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
            self.laterals = nn.ModuleList(nn.Conv2d(dim, b, 1) for _, b in pairs)
            self.classifier = nn.Conv2d(widths[-1], n_classes, 3, padding=1)

        def forward(self, maps):
            x, height, width = maps[-1], *maps[-1].shape[-2:]
            for i, (conv, norm, lateral) in enumerate(zip(self.convs, self.norms, self.laterals)):
                size = (height << i, width << i)
                if i > 0:
                    x = F.interpolate(x, size=size, mode="bilinear")
                x = F.relu(norm(conv(x)))
                side = lateral(maps[-2 - i])
                x = x + (F.interpolate(side, size=size, mode="bilinear") if i > 0 else side)
            return self.classifier(x)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            name = TIMM[args.model]
            self.encoder = timm.create_model(name, img_size=args.px, num_classes=0)
            if args.tune != "full":
                self.encoder.requires_grad_(False)
            if args.tune == "lora":
                for block in self.encoder.blocks:
                    attn = block.attn
                    if getattr(attn, "q_bias", None) is not None:
                        # timm keeps this family's biases beside the weight.
                        bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias]).detach()
                        attn.qkv.bias = nn.Parameter(bias, requires_grad=False)
                        attn.q_bias = attn.k_bias = attn.v_bias = None
                    attn.qkv = Lora(attn.qkv, args.rank)
            dim = self.encoder.embed_dim
            fpn = args.decoder == "fpn"
            self.decoder = Fpn(dim, args.classes) if fpn else nn.Conv2d(dim, args.classes, 1)

        def forward(self, images):
            n = 4 if args.decoder == "fpn" else 1
            maps = self.encoder.forward_intermediates(
                images, indices=n, norm=True, output_fmt="NCHW", intermediates_only=True
            )
            return self.decoder(maps if n > 1 else maps[0])

    return Network().eval()


def pytorch_side(args):
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(args.threads)
    import timm  # noqa: F401  (counted as the program, not as the model)

    program_mib = memory_mib("VmRSS:")
    torch.manual_seed(0)
    net = network(args)
    net.decoder.train()
    device = torch.device(args.device)
    is_gpu = device.type == "cuda"
    net.to(device)
    images = torch.randn(args.batch, 3, args.px, args.px, device=device)
    targets = torch.randint(0, args.classes, (args.batch, args.px, args.px), device=device)
    narrow = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")
    run = torch.compile(net) if args.compile else net
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=3e-4)

    def forward():
        with torch.inference_mode(), narrow:
            run(images)

    def step():
        optimizer.zero_grad()
        with narrow:
            logits = run(images)
        logits = F.interpolate(logits.float(), size=images.shape[-2:], mode="bilinear")
        loss = F.cross_entropy(logits, targets, ignore_index=255)
        loss.backward()
        optimizer.step()
        if not is_gpu:
            loss.item()

    iterate = forward if args.mode == "forward" else step
    if args.mode == "forward":
        net.eval()
    for _ in range(WARM_UP):
        iterate()
    if is_gpu:
        torch.cuda.synchronize()
    times, cpu, begin = [], time.process_time(), time.perf_counter()
    for _ in range(args.iterations):
        start = time.perf_counter()
        iterate()
        times.append((time.perf_counter() - start) * 1e3)
    if is_gpu:
        torch.cuda.synchronize()
        times = [(time.perf_counter() - begin) * 1e3 / args.iterations]
    cpu = (time.process_time() - cpu) * 1e3 / args.iterations
    print(
        json.dumps(
            {
                "program": "pytorch",
                "wall_ms_median": statistics.median(times),
                "wall_ms_min": min(times),
                "cpu_ms_mean": cpu,
                "peak_mib": memory_mib("VmHWM:"),
                "program_mib": program_mib,
                "gpu_mib": torch.cuda.max_memory_reserved() / 2**20 if is_gpu else 0,
            }
        )
    )


def passed_on(args):
    for name in ["model", "px", "batch", "rank", "classes", "mode", "tune", "decoder", "threads",
                 "iterations", "device", "precision"]:
        yield from (f"--{name}", str(getattr(args, name)))


def run(command):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def main():
    args = arguments()
    if args.pytorch_side:
        return pytorch_side(args)
    theirs = [sys.executable, os.path.abspath(__file__), "--pytorch-side", *passed_on(args)]
    if args.compile:
        theirs.append("--compile")
    sides = {"pytorch": theirs}
    if args.ours:
        sides["sweep"] = [args.ours, *passed_on(args)]
    results = {side: [] for side in sides}
    for _ in range(args.rounds):
        for side, command in sides.items():
            results[side].append(run(command))
    title = f"{args.model} {args.px} px, batch {args.batch}, {args.tune}, {args.decoder}"
    print(f"{args.mode}: {title}, {args.threads} threads, {args.rounds} rounds")
    middle = lambda side, key: statistics.median(r[key] for r in results[side])
    keys = {"wall_ms_median": "wall, median ms", "wall_ms_min": "wall, fastest ms",
            "cpu_ms_mean": "processor ms", "peak_mib": "peak MiB"}
    print(f"{'':18} {'PyTorch':>9} {'sweep':>9} {'ratio':>7}")
    for key, label in keys.items():
        a = middle("pytorch", key)
        if not args.ours:
            print(f"{label:18} {a:9.1f}")
            continue
        b = middle("sweep", key)
        print(f"{label:18} {a:9.1f} {b:9.1f} {b / a:7.2f}")
    program = middle("pytorch", "program_mib")
    print(f"PyTorch's program alone, before a model exists: {program:.0f} MiB")
    if args.ours:
        above = middle("pytorch", "peak_mib") - program
        print(f"peak, ours in all over PyTorch's above that: {middle('sweep', 'peak_mib') / above:.2f}")


if __name__ == "__main__":
    main()
