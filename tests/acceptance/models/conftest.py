"""Models of every type on real data, in files and as their frameworks have them.

The `models` fixture has both. `agree` is what the tests of this folder are about: the same request
run here, called over HTTP and answered by the framework itself.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
import xgboost
from model_zoo import Specimen, make
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from penstock import Conduit

TREES = {"n_estimators": 12, "max_depth": 3, "n_jobs": 1, "random_state": 3}


class Doubled(torch.nn.Module):
    """A module of the user's own class, for files that carry the class by value."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * self.inner(x)


@dataclass(frozen=True)
class Models:
    """The files' folder, the data sets, and the fitted models as their frameworks have them."""

    folder: Path
    wine: np.ndarray
    cancer: np.ndarray
    diabetes: np.ndarray
    digits: np.ndarray
    own: dict[str, Any]

    def __getitem__(self, file: str) -> Path:
        return self.folder / file

    def onnx(self, file: str, feed: np.ndarray) -> dict[str, np.ndarray]:
        """Return what ONNX Runtime answers when it is called by hand, by output name."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(self[file]), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        answers = session.run(names, {session.get_inputs()[0].name: as_f32(feed)})
        return dict(zip(names, answers, strict=True))

    def net(self, rows: np.ndarray, own: str = "net") -> np.ndarray:
        with torch.inference_mode():
            return self.own[own](torch.tensor(rows, dtype=torch.float32)).numpy()


def as_f32(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows, dtype=np.float32)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Specimen]:
    """A specimen of every model type in every form, by title."""
    return {one.title: one for one in make(tmp_path_factory.mktemp("zoo"))}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    wine, kinds = load_wine(return_X_y=True)
    cancer, benign = load_breast_cancer(return_X_y=True)
    diabetes, progress = load_diabetes(return_X_y=True)
    digits, figures = load_digits(return_X_y=True)
    digits = digits / 16.0
    own: dict[str, Any] = {
        "net": trained_net(wine, kinds),
        "digits_net": trained_net(digits, figures, dropout=True),
        "kinds": xgboost.XGBClassifier(**TREES).fit(wine, kinds),
        "benign": xgboost.XGBClassifier(**TREES).fit(cancer, benign),
        "progress": xgboost.XGBRegressor(**TREES).fit(diabetes, progress),
        "ridge": Ridge().fit(diabetes, progress),
        "forest": RandomForestClassifier(10, random_state=3).fit(wine, kinds),
        "labels": make_pipeline(StandardScaler(), LogisticRegression()).fit(cancer, benign),
        "scaler": StandardScaler().fit(wine),
        "pca": PCA(8, random_state=3).fit(digits),
    }
    own["scaled"] = xgboost.XGBClassifier(**TREES).fit(own["scaler"].transform(wine), kinds)
    own["reduced"] = LogisticRegression(max_iter=500).fit(own["pca"].transform(digits), figures)
    found = Models(folder, wine, cancer, diabetes, digits, own)
    own["hidden"] = xgboost.XGBClassifier(**TREES).fit(found.net(wine), kinds)
    own["last"] = Ridge().fit(own["hidden"].predict_proba(found.net(wine)), wine[:, 0])
    write(folder, own, wine, diabetes)
    return found


def trained_net(rows: np.ndarray, labels: np.ndarray, dropout: bool = False) -> torch.nn.Module:
    """A classifier of a few steps; batch norm and dropout answer differently while training."""
    torch.manual_seed(3)
    width, classes = rows.shape[1], int(labels.max()) + 1
    middle = [torch.nn.Dropout(0.5)] if dropout else []
    net = torch.nn.Sequential(
        torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 16), torch.nn.ReLU(), *middle,
        torch.nn.Linear(16, classes),
    )  # fmt: skip
    x, y = torch.tensor(rows, dtype=torch.float32), torch.tensor(labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def write(folder: Path, own: dict[str, Any], wine: np.ndarray, diabetes: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is in maintenance mode
        torch.jit.script(own["net"]).save(str(folder / "net.pt"))
    # Saved in training mode, so that serving has to switch it.
    torch.save(own["digits_net"].train(), folder / "digits.pth")
    own["digits_net"].eval()
    own["doubled"] = Doubled(own["net"])
    (folder / "doubled.pkl").write_bytes(cloudpickle.dumps(own["doubled"]))
    for name in ("kinds", "benign", "progress", "hidden", "scaled"):
        for suffix in (".json", ".ubj"):
            own[name].save_model(folder / f"{name}{suffix}")
    for name in ("kinds", "progress", "ridge", "forest", "labels", "scaler", "pca", "reduced",
                 "last"):  # fmt: skip
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(own[name]))
        joblib.dump(own[name], folder / f"{name}.joblib")
    options = {"zipmap": False}
    forest = to_onnx(own["forest"], as_f32(wine[:1]), options=options)
    (folder / "forest.onnx").write_bytes(forest.SerializeToString())
    for name, rows in (("ridge", diabetes), ("scaler", wine)):
        (folder / f"{name}.onnx").write_bytes(
            to_onnx(own[name], as_f32(rows[:1])).SerializeToString()
        )


@pytest.fixture
def agree(put: Any) -> Callable[..., None]:
    """Require one JSON of a local run and a served one, and the framework's own numbers.

    Local and served must agree to the last digit; the framework may differ from them by what one
    more conversion of float32 to decimal digits costs.
    """

    def check(flow: Any, data: Any, expected: Any, files: Any = ()) -> None:
        here = Conduit("here", None, flow).run(data, files)
        there = put(flow).predict(data, files=list(files) or None)
        assert json.dumps(there) == json.dumps(here)
        assert_equals_framework(there, expected)

    return check


def assert_equals_framework(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_equals_framework(found[key], value)
    elif isinstance(expected, np.ndarray):
        assert np.shape(found) == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    else:
        assert found == expected
