"""`sweep score` against torchmetrics, mmseg's formulas and the reference project's own metric, on
random masks and, where a folder of real ones is given, on real masks. The confusion matrix must be
equal to the pixel.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

VOID = 255
Pairs = list[tuple[np.ndarray, np.ndarray]]


def random_pairs(n_classes: int, seed: int) -> Pairs:
    """Masks of several sizes with void; the last class is never true, half of the pixels are right."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(12):
        size = rng.integers(1, 200, size=2)
        truth = rng.integers(0, max(1, n_classes - 1), size=size)
        guess = rng.integers(0, n_classes, size=size)
        pred = np.where(rng.random(size) < 0.5, truth, guess)
        truth[rng.random(size) < 0.1] = VOID
        pairs.append((truth.astype(np.uint8), pred.astype(np.uint8)))
    return pairs


def real_pairs(folder: Path, n_classes: int, seed: int) -> Pairs:
    """The truth against itself shifted and partly relabelled."""
    rng = np.random.default_rng(seed)
    pairs = []
    for path in sorted(folder.glob("*.png"))[:100]:
        truth = np.array(Image.open(path))
        pred = np.roll(truth, shift=rng.integers(-20, 21, size=2), axis=(0, 1)).copy()
        pred[pred >= n_classes] = 0
        renamed = rng.permutation(n_classes).astype(np.uint8)
        third = len(pred) // 3
        pred[:third] = renamed[pred[:third]]
        pairs.append((truth, pred))
    return pairs


def expected(pairs: Pairs, n_classes: int, reference) -> dict:
    counter = MulticlassConfusionMatrix(n_classes, ignore_index=VOID)
    jaccard = MulticlassJaccardIndex(n_classes, average="none", ignore_index=VOID)
    ids = []
    for truth, pred in pairs:
        truth, pred = torch.from_numpy(truth).long(), torch.from_numpy(pred).long()
        counter.update(pred, truth)
        jaccard.update(pred, truth)
        logits = torch.nn.functional.one_hot(pred, max(n_classes, 2)).movedim(-1, 0)[None]
        ids.append(float(reference(logits, truth[None], ignore_index=VOID)))
    counts = counter.compute().double()
    diagonal, rows, columns = counts.diagonal(), counts.sum(1), counts.sum(0)
    union = rows + columns - diagonal
    iou = diagonal / union
    present = rows > 0
    torch.testing.assert_close(jaccard.compute().double()[present], iou[present])
    return {
        "confusion": counts.long().tolist(),
        "miou": iou[present].mean().item(),
        "miou_union": iou[union > 0].mean().item(),
        "iou_frequency_weighted": (iou[present] * rows[present]).sum().item() / rows.sum().item(),
        "pixel_accuracy": (diagonal.sum() / rows.sum()).item(),
        "accuracy_mean": (diagonal / rows)[present].mean().item(),
        "reference_metric": float(np.mean(ids)),
    }


def ours(sweep: Path, pairs: Pairs, n_classes: int) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"--truth": Path(scratch) / "truth", "--pred": Path(scratch) / "pred"}
        for which, folder in enumerate(folders.values()):
            folder.mkdir()
            for i, pair in enumerate(pairs):
                Image.fromarray(pair[which], mode="L").save(folder / f"{i:03}.png")
        paths = [str(part) for item in folders.items() for part in item]
        command = [str(sweep), "score", *paths, "--classes", str(n_classes), "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    out = json.loads(done.stdout)
    return {"confusion": out["confusion"], **out["metrics"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path, required=True, help="the program")
    parser.add_argument("--reference", type=Path, required=True, help="dinov2-finetune checkout")
    parser.add_argument("--masks", type=Path, help="folder of real index masks")
    parser.add_argument("--classes", type=int, default=21, help="of the real masks")
    args = parser.parse_args()
    sys.path.insert(0, str(args.reference / "dino_finetune"))
    from metrics import compute_iou_metric

    cases = [
        (f"random, {n_classes} classes", n_classes, random_pairs(n_classes, seed))
        for seed, n_classes in enumerate([2, 8, 21, 150, 255])
    ]
    if args.masks:
        pairs = real_pairs(args.masks, args.classes, seed=0)
        cases.append((f"{args.masks.parent.name}, {len(pairs)} masks", args.classes, pairs))
    failed = False
    for name, n_classes, pairs in cases:
        theirs = expected(pairs, n_classes, compute_iou_metric)
        got = ours(args.sweep, pairs, n_classes)
        same = got["confusion"] == theirs.pop("confusion")
        off = {key: abs(got[key] - value) for key, value in theirs.items()}
        # PyTorch divides the reference's metric in f32.
        limits = {key: 1e-6 if key == "reference_metric" else 1e-12 for key in off}
        ok = same and all(off[key] < limit for key, limit in limits.items())
        failed |= not ok
        worst = ", ".join(f"{key} {x:.0e}" for key, x in off.items())
        counts = "equal counts" if same else "counts DIFFER"
        print(f"{name:24} mIoU {got['miou']:.6f}, {counts}; {worst}{'' if ok else ' FAILED'}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
