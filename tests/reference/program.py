"""Runs our program, and compares what it writes."""

import subprocess
from pathlib import Path

import torch
from safetensors.torch import load_file


def features(
    sweep: Path, source: Path, weights: Path, layers: list[int], output: Path, *more: str
) -> dict[str, torch.Tensor]:
    """What `sweep features` writes for a safetensors file with `input` [batch, 3, h, w]."""
    command = [str(sweep), "features", str(source), "--weights", str(weights)]
    if layers:
        command += ["--layers", ",".join(map(str, layers))]
    output.unlink(missing_ok=True)
    done = subprocess.run(
        [*command, "--output", str(output), *more], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()}")
    return load_file(output)


def difference(ours: torch.Tensor, expected: torch.Tensor) -> tuple[float, float]:
    """Largest difference, absolute and over the largest expected value."""
    if ours.shape != expected.shape:
        raise RuntimeError(f"shape {list(ours.shape)}, expected {list(expected.shape)}")
    worst = (ours.double() - expected.double()).abs().max().item()
    return worst, worst / expected.double().abs().max().item()
