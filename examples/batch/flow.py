"""The batch flow: rows of measurements in, one number for each out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock import model_type


def post(result: Any) -> list[float]:
    """Predictions, shape (n,), rounded."""
    return [round(float(value), 1) for value in result]


def flow(folder: Path) -> list[tuple[Any, ...]]:
    """The stage, with the model file in `folder`."""
    return [(model_type.LIGHTGBM, folder / "progress.txt", {"post": post})]
