#!/usr/bin/env python3
"""Writes tests/data/transforms/transforms.json: what mmsegmentation's PhotoMetricDistortion,
RandomCrop and padding, and DINOv3's FixedSideResize and PadTensor, make of small images when the
draws are given. `cargo test --lib data::transform` holds ours to it.

cv2 must have vectors with fused multiplication, as on any newer x86-64: without, its way back from
HSV rounds where with them it cuts.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "data"


class Script:
    """Stands in for numpy.random: hands out what it is given, in order."""

    def __init__(self, draws):
        self.draws = list(draws)

    def randint(self, low, high=None):
        low, high = (0, low) if high is None else (low, high)
        value = self.draws.pop(0)
        if isinstance(value, float):  # Part of the range.
            value = low + int(value * (high - low))
        assert low <= value < high, (value, low, high)
        return value

    def uniform(self, low, high):
        value = self.draws.pop(0)
        assert low <= value <= high
        return value

    def random_sample(self):
        return self.draws.pop(0)


def shades(height, width, rng):
    """Noise, greys, pure colours and black and white, RGB."""
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[0] = np.linspace(0, 255, width, dtype=np.uint8)[:, None]
    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)])
    image[1, :8] = corners
    image[2, :8] = corners // 2 + 3
    image[3] = image[3] // 16 * 3
    return image


def photometric(transforms):
    """Each operation alone, all together, contrast at either place."""
    # Rows as long as cv2's vectors: what is left of a row it rounds otherwise.
    image = shades(4, 64, np.random.default_rng(0))
    cases = [{}]
    cases += [{"brightness": v} for v in (-32.0, -7.25, 11.6, 32.0)]
    cases += [{"contrast": v, "contrast_first": f} for v in (0.5, 1.4375) for f in (False, True)]
    cases += [{"saturation": v} for v in (0.5, 0.93, 1.5)]
    cases += [{"hue": v} for v in (-18, -1, 0, 5, 17)]
    cases += [{"saturation": 1.3, "hue": -9}]
    for first in (False, True):
        cases.append({"brightness": 20.5, "contrast": 0.7, "contrast_first": first,
                      "saturation": 1.25, "hue": 13})
        cases.append({"brightness": -20.5, "contrast": 1.3, "contrast_first": first,
                      "saturation": 0.6, "hue": -13})
    found = []
    for case in cases:
        draws = []

        def coin(name):
            draws.extend([1, case[name]] if name in case else [0])

        first = case.get("contrast_first", False)
        coin("brightness")
        draws.append(int(first))
        if first:
            coin("contrast")
        coin("saturation")
        coin("hue")
        if not first:
            coin("contrast")
        script = Script(draws)
        with mock.patch.object(transforms, "random", script):
            bgr = np.ascontiguousarray(image[..., ::-1])
            out = transforms.PhotoMetricDistortion()(dict(img=bgr))["img"]
        assert not script.draws
        found.append({**case, "pixels": out[..., ::-1].astype(np.uint8).tobytes().hex()})
    return {"height": 4, "width": 64, "pixels": image.tobytes().hex(), "cases": found}


def masks(rng):
    """Blobs of three classes with void; nearly one class; one class; all void; one more."""
    blobs = np.kron(rng.integers(0, 3, (4, 5)), np.ones((5, 6), int)).astype(np.uint8)
    blobs[rng.random(blobs.shape) < 0.1] = 255
    spot = np.full((20, 30), 7, np.uint8)
    spot[12:18, 4:11] = 9
    one = np.full((20, 30), 3, np.uint8)
    one[:4] = 255
    half = np.zeros((20, 30), np.uint8)
    half[:, 20:] = 1
    return {"blobs": blobs, "spot": spot, "one": one, "void": np.full((20, 30), 255, np.uint8),
            "half": half, "low": blobs[:6, :], "narrow": blobs[:, :4], "small": blobs[:5, :6],
            "line": blobs[:, :1]}


def crops(transforms, stack_batch):
    """Boxes and cut-outs for given places, padded as mmseg's SegDataPreProcessor pads."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    rng = np.random.default_rng(1)
    sources = masks(rng)
    found = []
    for name, mask in sources.items():
        for crop, max_class in (((8, 10), 0.75), ((8, 10), 0.5), ((8, 10), 1.0), ((14, 7), 0.9)):
            draws = rng.random(22).round(4).tolist()
            script = Script(draws)
            image = np.repeat(mask[..., None], 3, axis=2)
            operation = transforms.RandomCrop(crop, cat_max_ratio=max_class)
            with mock.patch.object(np.random, "randint", script.randint):
                out = operation(dict(img=image, gt_seg_map=mask, seg_fields=["gt_seg_map"]))
            cut = out["gt_seg_map"]
            normalised = torch.from_numpy(out["img"].transpose(2, 0, 1).copy()).float() / 255
            normalised = (normalised - 0.5) / 0.25
            sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(cut.copy())[None]))
            sample.set_metainfo(dict(img_shape=cut.shape))
            images, samples = stack_batch([normalised], [sample], size=crop, pad_val=0,
                                          seg_pad_val=255)
            found.append({
                "mask": name, "crop": crop, "max_class": max_class, "draws": draws,
                "n_drawn": 22 - len(script.draws), "height": cut.shape[0], "width": cut.shape[1],
                "padded": samples[0].gt_sem_seg.data[0].numpy().astype(np.uint8).tobytes().hex(),
                "sum": images[0].double().sum().item(), "n_zero": int((images[0] == 0).sum()),
            })
    sources = {name: {"height": mask.shape[0], "width": mask.shape[1],
                      "classes": mask.tobytes().hex()} for name, mask in sources.items()}
    return {"masks": sources, "cases": found}


def resizes(dinov3):
    """Sizes for given factors; a part of the resized image, and of the mask by Pillow."""
    import torchvision.transforms as T

    sizes = []
    for height, width, short_side, ratio in (
            (375, 500, 512, 0.0), (500, 375, 512, 0.999), (333, 500, 448, 0.4321), (1, 7, 448, 0.5),
            (7, 1, 64, 0.71), (300, 300, 301, 0.123), (480, 640, 512, 1 / 3), (1999, 3, 14, 0.2)):
        operation = dinov3.FixedSideResize(
            short_side, T.InterpolationMode.BILINEAR, T.InterpolationMode.NEAREST, [0.5, 2.0])
        with mock.patch.object(np.random, "random_sample", lambda: ratio):
            asked = []
            with mock.patch.object(operation, "_resize", lambda i, l, n: asked.append(n)):
                operation(None, None)
            resized = mock.Mock(side_effect=lambda size, interpolation: sizes.append(
                [height, width, short_side, ratio, *size]) or (lambda image: image))
            operation.inference_mode = "slide"
            with mock.patch.object(dinov3.T, "Resize", resized):
                operation._resize(mock.Mock(size=(width, height)), None, asked[0])
    rng = np.random.default_rng(2)
    image, mask = shades(13, 18, rng), rng.integers(0, 6, (13, 18), dtype=np.uint8)
    parts = []
    for whole, top, left, height, width in (((20, 26), 3, 9, 8, 11), ((7, 10), 1, 2, 6, 8),
                                            ((13, 18), 4, 5, 6, 7), ((31, 9), 20, 0, 11, 9)):
        size = (whole[1], whole[0])
        big = np.asarray(Image.fromarray(image).resize(size, Image.BILINEAR))
        classes = np.asarray(Image.fromarray(mask).resize(size, Image.NEAREST))
        part = np.s_[top:top + height, left:left + width]
        parts.append({"whole": whole, "top": top, "left": left, "height": height, "width": width,
                      "pixels": big[part].tobytes().hex(), "classes": classes[part].tobytes().hex()})
    return {"sizes": sizes, "height": 13, "width": 18, "pixels": image.tobytes().hex(),
            "classes": mask.tobytes().hex(), "parts": parts}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--dinov3", type=Path, required=True, help="facebookresearch/dinov3")
    arguments.add_argument("--output", type=Path, default=DATA / "transforms")
    arguments = arguments.parse_args()

    # mmcv-lite has no compiled operations, and nothing here uses them.
    sys.modules["mmcv.ops"] = mock.MagicMock()
    from mmseg.datasets.transforms import transforms
    from mmseg.utils.misc import stack_batch

    # Labels of ADE20K, which need pandas.
    sys.modules["dinov3.eval.segmentation.metrics"] = mock.MagicMock()
    with mock.patch("sys.path", [str(arguments.dinov3), *sys.path]):
        path = arguments.dinov3 / "dinov3/eval/segmentation/transforms.py"
        spec = importlib.util.spec_from_file_location("dinov3_transforms", path)
        dinov3 = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(dinov3)

    found = {"photometric": photometric(transforms), "crops": crops(transforms, stack_batch),
             "resizes": resizes(dinov3)}
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "transforms.json"
    path.write_text(json.dumps(found, separators=(",", ":")).replace('},{', '},\n{') + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
