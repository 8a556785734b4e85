"""The digits flow: pictures as files, their names as data; torch features, then XGBoost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from penstock import get, model_type, save


def as_pixels(picture: Any) -> np.ndarray[Any, Any]:
    """One opened picture as a (1, 8, 8) array in [0, 1]. A helper: it travels with `pre`."""
    return np.asarray(picture.convert("L"), dtype=np.float32)[None] / 255.0


def pre(data: list[str], files: list[Any]) -> np.ndarray[Any, Any]:
    """Remember the names and decode the pictures into one (n, 1, 8, 8) array."""
    save("names", data)
    return np.stack([as_pixels(Image.open(file)) for file in files])


def post(result: np.ndarray[Any, Any], input_data: list[str], files: list[Any]) -> dict[str, int]:
    """Turn class probabilities, shape (n, 10), into {name: digit}."""
    return dict(zip(get("names"), result.argmax(axis=1), strict=True))


def flow(folder: Path) -> list[tuple[Any, ...]]:
    """The stages, with the model files in `folder`."""
    return [
        (model_type.TORCH, folder / "features.pt", {"pre": pre}),
        (model_type.XGBOOST_CLASSIFIER, folder / "xgb.json", {"post": post}),
    ]
