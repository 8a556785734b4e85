"""The fixed work that every system serves: what `pre`, the models and `post` do.

Every peer's server imports this module, so all do the same work; Penstock's flows use the same
four functions. The work folder is filled by `make_models.py`.

  A, B  rows of 16 floats -> pre -> TorchScript MLP -> XGBoost, 50 trees -> post
  C     JPEG -> PIL, 64x64 -> TorchScript CNN -> softmax -> post
  D     the data as it came
  E     1000 rows of 100 float32 -> TorchScript MLP (Penstock only)

Models run on one thread everywhere. `many` is the joined form for peers that batch: it joins the
rows of several requests, runs the flow once and splits the answer.
"""

# ruff: noqa: E402 - the environment is set before the libraries are imported

import contextlib
import io
import os
import tempfile
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

WORK = Path(os.environ.get("PENSTOCK_BENCH_DIR") or Path(tempfile.gettempdir()) / "penstock-bench")
MEAN = np.linspace(-0.5, 0.5, 16, dtype=np.float32)
STD = np.linspace(0.5, 1.5, 16, dtype=np.float32)
IMG_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
IMG_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def pre(rows):
    """Rows of numbers -> float32 (n, 16), scaled."""
    x = np.asarray(rows, dtype=np.float32)
    return (x - MEAN) / STD


def post(proba):
    """Probabilities (n, classes) -> one `{"label", "p"}` per row."""
    labels = proba.argmax(axis=1)
    best = proba[np.arange(len(labels)), labels]
    return [{"label": a, "p": b} for a, b in zip(labels.tolist(), best.tolist(), strict=True)]


def pre_image(data):
    """JPEG bytes, a binary file, or an opened PIL image -> float32 (1, 3, 64, 64)."""
    from PIL import Image

    if isinstance(data, (bytes, bytearray, memoryview)):
        data = io.BytesIO(data)
    img = data if isinstance(data, Image.Image) else Image.open(data)
    img = img.convert("RGB").resize((64, 64))
    x = np.asarray(img, dtype=np.float32) / 255.0
    return ((x - IMG_MEAN) / IMG_STD).transpose(2, 0, 1)[None].copy()


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def points(values, shape):
    """Rows out of a flat tensor, for peers that speak the V2 protocol."""
    return np.asarray(values, dtype=np.float32).reshape(shape)


def _one_thread():
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    return torch


class Tabular:
    def __init__(self):
        self.torch = _one_thread()
        import xgboost

        self.mlp = self.torch.jit.load(str(WORK / "mlp.pt")).eval()
        self.xgb = xgboost.Booster({"nthread": 1})
        self.xgb.load_model(str(WORK / "xgb.json"))
        self.xgb.set_param({"nthread": 1})
        for n in (1, 1, 1, 32, 32):
            self.one(np.zeros((n, 16), dtype=np.float32))

    def mlp_step(self, x):
        with self.torch.inference_mode():
            return self.mlp(self.torch.from_numpy(x)).numpy()

    def xgb_step(self, h):
        p1 = self.xgb.inplace_predict(h)
        return np.stack([1.0 - p1, p1], axis=1)

    def one(self, rows):
        return post(self.xgb_step(self.mlp_step(pre(rows))))

    def many(self, requests):
        if len(requests) == 1:
            return [self.one(requests[0])]
        out = self.one([row for r in requests for row in r])
        res, at = [], 0
        for request in requests:
            res.append(out[at : at + len(request)])
            at += len(request)
        return res


class Vision:
    def __init__(self):
        self.torch = _one_thread()
        self.cnn = self.torch.jit.load(str(WORK / "cnn.pt")).eval()
        for _ in range(3):
            self.net(np.zeros((1, 3, 64, 64), dtype=np.float32))

    def net(self, x):
        with self.torch.inference_mode():
            return self.cnn(self.torch.from_numpy(x)).numpy()

    def one(self, data):
        return post(softmax(self.net(pre_image(data))))


def first_part(body):
    """First part of a multipart/form-data body, for servers that have no parser."""
    end = body.index(b"\r\n")
    mark = body[:end]
    start = body.index(b"\r\n\r\n", end) + 4
    return body[start : body.index(b"\r\n" + mark, start)]
