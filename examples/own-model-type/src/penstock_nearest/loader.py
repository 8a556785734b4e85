"""Loads and saves indexes. Imported by workers when a flow has a NEAREST stage, by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.loaders.base import ModelFile, TensorSpec
from penstock_nearest import Index

#: Files of these suffixes hold no code: Penstock labels them so, and a server that refuses models
#: with code takes them.
DATA_SUFFIXES = (".npz",)


class NearestModel:
    """Brute force over all vectors: one matrix product per call."""

    takes = "table"
    joinable = True  # rows of several requests may be answered together, once that is proven
    exact = False  # the matrix product adds up in another order for another number of rows
    only_library = True

    def __init__(self, vectors: np.ndarray, labels: np.ndarray) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float64)
        self._squares = (self._vectors**2).sum(axis=1)
        self._labels = labels
        columns = self._vectors.shape[1]
        # Penstock converts what comes to this and refuses what does not fit.
        self.inputs = (TensorSpec("input", "float64", (None, columns), n_features=columns),)

    def predict(self, value: np.ndarray) -> np.ndarray:
        """Return the label of the nearest vector for each row."""
        distances = self._squares - 2.0 * (value @ self._vectors.T)
        return self._labels[distances.argmin(axis=1)]

    def hand_out(self, output: np.ndarray) -> np.ndarray:
        """Return the output: it is a fresh array."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return what people see of the model."""
        return {"library": "penstock-nearest", "vectors": len(self._vectors)}


def load(file: ModelFile, _model_type: object, _threads: int) -> NearestModel:
    """Return the index in a `.npz` file, which holds arrays and no code."""
    with np.load(file.path, allow_pickle=False) as held:
        if not {"vectors", "labels"} <= set(held.files):
            raise LoadFailed(f"{file.name} has no arrays named vectors and labels.")
        return NearestModel(held["vectors"], held["labels"])


def save(index: Index, path: Path) -> Path:
    """Save an index that was given to `deploy` as an object; return the file."""
    path = path.with_suffix(".npz")
    np.savez(path, vectors=index.vectors, labels=index.labels)
    return path
