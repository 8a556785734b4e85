"""The photo flow: JPEG files in, a label and a probability for each out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from penstock import model_type

LABELS = ["temple", "flower"]
SIDE = 32


def as_pixels(file: Any) -> np.ndarray[Any, Any]:
    """A picture of any size and mode, turned as its camera says, to (3, 32, 32) in [0, 1]."""
    picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    small = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32).transpose(2, 0, 1) / 255


def pre(data: list[Any], files: list[Any]) -> np.ndarray[Any, Any]:
    """The request's files as one batch."""
    return np.stack([as_pixels(file) for file in files])


def post(result: Any, input_data: list[Any], files: list[Any]) -> list[dict[str, Any]]:
    """Probabilities, shape (n, 2), to one object per file."""
    best = result.argmax(axis=1)
    return [
        {"file": file.name, "label": LABELS[int(k)], "probability": round(float(row[k]), 3)}
        for file, k, row in zip(files, best, result, strict=True)
    ]


def flow(folder: Path) -> list[tuple[Any, ...]]:
    """The stage, with the model file in `folder`."""
    return [(model_type.TORCH, folder / "photos.pt", {"pre": pre, "post": post})]
