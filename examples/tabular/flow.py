"""The wine flow: objects with named measurements, a scaler, a classifier, an answer with a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_wine

from penstock import model_type

#: The order of training. Constants travel with the functions that use them.
COLUMNS = list(load_wine().feature_names)
GROWERS = ["Barolo", "Grignolino", "Barbera"]


def pre(data: list[dict[str, float]]) -> np.ndarray[Any, Any]:
    """Objects in any order of their keys to rows in the order of training, shape (n, 13)."""
    for at, wine in enumerate(data):
        missing = [name for name in COLUMNS if name not in wine]
        if missing:
            raise ValueError(f"wine {at} lacks {', '.join(missing)}")
    return np.array([[wine[name] for name in COLUMNS] for wine in data], dtype=np.float64)


def post(result: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Probabilities, shape (n, 3), to the likeliest grape and how sure the model is."""
    best = result.argmax(axis=1)
    return [
        {"grape": GROWERS[k], "probability": round(float(row[k]), 3)}
        for k, row in zip(best, result, strict=True)
    ]


def flow(folder: Path) -> list[tuple[Any, ...]]:
    """The stages, with the model files in `folder`."""
    return [
        (model_type.SKLEARN_PREPROCESSOR, folder / "scaler.skops", {"pre": pre}),
        (model_type.SKLEARN_CLASSIFIER, folder / "grower.skops", {"post": post}),
    ]
