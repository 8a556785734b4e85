"""Real models trained once on scikit-learn's own data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from penstock.loaders.base import ModelFile
from penstock.loaders.registry import load_model


@pytest.fixture(scope="session")
def wine():
    x, y = load_wine(return_X_y=True)
    return np.ascontiguousarray(x), y


@pytest.fixture(scope="session")
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return np.ascontiguousarray(x), y


@pytest.fixture
def load():
    def loader(path, model_type, threads=1):
        return load_model(ModelFile(Path(path), Path(path).name), model_type, threads)

    return loader
