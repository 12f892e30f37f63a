"""Writes tests/data/upsample/{naf/weights_dim32.pth,jbu/weights_norm_c12.ckpt} from the safetensors
beside them, as `torch.save` and PyTorch Lightning would; needs neither.

    python3 tests/data/make_upsample.py
"""

import collections
import io
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile

HERE = pathlib.Path(__file__).parent / "upsample"


def module(name, **content):
    made = types.ModuleType(name)
    for key, value in content.items():
        value.__module__, value.__qualname__ = name, key
        setattr(made, key, value)
    sys.modules[name] = made
    return made


def _rebuild_tensor_v2(*_):
    pass


torch = module("torch", FloatStorage=type("FloatStorage", (), {}))
torch._utils = module("torch._utils", _rebuild_tensor_v2=_rebuild_tensor_v2)
# Lightning keeps a config of a class that a reader need not know.
module("omegaconf.dictconfig", DictConfig=type("DictConfig", (), {}))
sys.modules["omegaconf"] = types.ModuleType("omegaconf")


class Storage:
    def __init__(self, key, n):
        self.key, self.n = key, n


class Tensor:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce__(self):
        strides, step = [], 1
        for side in reversed(self.shape):
            strides.insert(0, step)
            step *= side
        hooks = collections.OrderedDict()
        args = (self.storage, 0, tuple(self.shape), tuple(strides), False, hooks)
        return _rebuild_tensor_v2, args


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", torch.FloatStorage, value.key, "cpu", value.n)


class File:
    """A torch zip in the making."""

    def __init__(self):
        self.storages = []

    def tensor(self, shape, data):
        key = str(len(self.storages))
        self.storages.append(data)
        return Tensor(Storage(key, len(data) // 4), shape)

    def save(self, path, value):
        with zipfile.ZipFile(path, "w") as out:
            def put(name, data):
                out.writestr(zipfile.ZipInfo(f"archive/{name}"), data)

            pickled = io.BytesIO()
            Pickler(pickled, protocol=2).dump(value)
            put("data.pkl", pickled.getvalue())
            put("byteorder", b"little")
            for key, data in enumerate(self.storages):
                put(f"data/{key}", data)
            put("version", b"3\n")


def read(path):
    content = path.read_bytes()
    n = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + n])
    body = content[8 + n :]
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        yield name, entry["shape"], body[begin:end]


def state_dict(file, path):
    tensors = ((name, file.tensor(shape, data)) for name, shape, data in read(path))
    return collections.OrderedDict(tensors)


plain = File()
plain.save(HERE / "naf/weights_dim32.pth", state_dict(plain, HERE / "naf/weights_dim32.safetensors"))

lightning = File()
weights = state_dict(lightning, HERE / "jbu/weights_norm_c12.safetensors")
two = struct.pack("<2f", 1.0, 2.0)
for name in ["model.0.model.cls_token", "downsampler.attention_pooler.0.weight", "scale_net.net.0.bias"]:
    weights[name] = lightning.tensor([2], two)
lightning.save(
    HERE / "jbu/weights_norm_c12.ckpt",
    {
        "epoch": 0,
        "global_step": 2000,
        "pytorch-lightning_version": "1.9.0",
        "state_dict": weights,
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": None}},
        "optimizer_states": [{"state": {0: {"exp_avg": lightning.tensor([2], two)}}}],
        "hyper_parameters": sys.modules["omegaconf.dictconfig"].DictConfig(),
    },
)
