"""Writes tests/data/decoders/linear_bn.safetensors: numbers of PyTorch for the `linear_bn` decoder.

Meta's linear head (facebookresearch/dinov3 6876159, eval/segmentation/models/heads/linear_head.py)
is Dropout2d -> SyncBatchNorm -> Conv2d 1x1; on one process SyncBatchNorm is BatchNorm2d. Dropout
cannot be compared draw by draw and is 0 here. Needs torch and safetensors:
    python tests/reference/linear_bn.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

DIM, CLASSES, GRID, BATCH = 6, 3, (3, 4), 2


def case(layers: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(layers)
    channels = layers * DIM
    norm, conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, CLASSES, 1)
    for parameter in [*norm.parameters(), *conv.parameters()]:
        nn.init.normal_(parameter)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    names = {"norm": norm, "classifier": conv}
    state = {
        f"{module}.{name}": value.clone()
        for module, inside in names.items()
        for name, value in inside.state_dict().items()
        if name != "num_batches_tracked"
    }
    # As an encoder gives them: [layer, batch, n_patches, dim].
    tokens = torch.randn(layers, BATCH, GRID[0] * GRID[1], DIM)
    maps = [layer.transpose(1, 2).reshape(BATCH, DIM, *GRID) for layer in tokens]
    features = torch.cat(maps, dim=1)
    head = nn.Sequential(norm, conv)
    out = {f"start.{name}": value for name, value in state.items()}
    out["tokens"] = tokens
    out["eval_logits"] = head.eval()(features).detach()
    train_logits = head.train()(features)
    out["train_logits"] = train_logits.detach()
    out["weights"] = torch.randn_like(train_logits)
    (train_logits * out["weights"]).sum().backward()
    for module, inside in names.items():
        for name, parameter in inside.named_parameters():
            out[f"grad.{module}.{name}"] = parameter.grad
    out["after.norm.running_mean"] = norm.running_mean.clone()
    out["after.norm.running_var"] = norm.running_var.clone()
    return {f"layers{layers}.{name}": value.contiguous() for name, value in out.items()}


target = Path(__file__).parent.parent / "data/decoders/linear_bn.safetensors"
save_file(case(1) | case(4), target)
print(target, target.stat().st_size, "bytes")
