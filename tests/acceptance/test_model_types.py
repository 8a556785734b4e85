"""Every model type on real data: a local run, a call over HTTP and the framework itself agree.

Each case is a flow, a request and what the framework answers when it is called by hand. The local
run and the served one must give the same JSON, to the last digit; the framework's own numbers may
differ from them by what one more conversion of float32 to decimal digits costs.
"""

from __future__ import annotations

import io
import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import httpx2
import joblib
import numpy as np
import pytest
import torch
import xgboost
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from penstock import Conduit, PenstockError, get, model_type, save

M = model_type
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

    def net(self, rows: np.ndarray, own: str = "net") -> np.ndarray:
        with torch.inference_mode():
            return self.own[own](torch.tensor(rows, dtype=torch.float32)).numpy()


def as_f32(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows, dtype=np.float32)


@pytest.fixture(scope="module")
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


@dataclass(frozen=True)
class Case:
    """A flow, a request, and the answer that the framework gives when called by hand."""

    flow: list[tuple[Any, ...]]
    data: Any
    expected: Any
    files: tuple[Any, ...] = ()


CASES: dict[str, Callable[[Models], Case]] = {}


def case(make: Callable[[Models], Case]) -> Callable[[Models], Case]:
    CASES[make.__name__] = make
    return make


@case
def torch_torchscript(m: Models) -> Case:
    return Case([(M.TORCH, m["net.pt"])], m.wine[:5].tolist(), m.net(m.wine[:5]))


@case
def torch_saved_module_that_was_in_training_mode(m: Models) -> Case:
    rows = m.digits[:5]
    return Case([(M.TORCH, m["digits.pth"])], rows.tolist(), m.net(rows, "digits_net"))


@case
def torch_pickled_module_of_a_class_of_ones_own(m: Models) -> Case:
    rows = m.wine[7:12]
    return Case([(M.TORCH, m["doubled.pkl"])], rows.tolist(), m.net(rows, "doubled"))


def boosted_classes(m: Models, suffix: str) -> Case:
    own = m.own["kinds"].predict_proba(m.wine[:6])
    return Case([(M.XGBOOST_CLASSIFIER, m[f"kinds{suffix}"])], m.wine[:6].tolist(), own)


@case
def xgboost_classifier_json(m: Models) -> Case:
    return boosted_classes(m, ".json")


@case
def xgboost_classifier_ubj(m: Models) -> Case:
    return boosted_classes(m, ".ubj")


@case
def xgboost_classifier_pkl(m: Models) -> Case:
    return boosted_classes(m, ".pkl")


@case
def xgboost_classifier_of_two_classes(m: Models) -> Case:
    own = m.own["benign"].predict_proba(m.cancer[:6])
    return Case([(M.XGBOOST_CLASSIFIER, m["benign.json"])], m.cancer[:6].tolist(), own)


def boosted_numbers(m: Models, suffix: str) -> Case:
    own = m.own["progress"].predict(m.diabetes[:6])
    return Case([(M.XGBOOST_REGRESSOR, m[f"progress{suffix}"])], m.diabetes[:6].tolist(), own)


@case
def xgboost_regressor_json(m: Models) -> Case:
    return boosted_numbers(m, ".json")


@case
def xgboost_regressor_ubj(m: Models) -> Case:
    return boosted_numbers(m, ".ubj")


@case
def xgboost_regressor_pkl(m: Models) -> Case:
    return boosted_numbers(m, ".pkl")


@case
def xgboost_with_a_missing_value(m: Models) -> Case:
    rows = m.diabetes[:3].copy()
    rows[1, 2] = np.nan
    data = [[None if np.isnan(v) else v for v in row] for row in rows.tolist()]
    return Case([(M.XGBOOST_REGRESSOR, m["progress.json"])], data, m.own["progress"].predict(rows))


@case
def sklearn_pkl(m: Models) -> Case:
    own = m.own["ridge"].predict(m.diabetes[:6])
    return Case([(M.SKLEARN, m["ridge.pkl"])], m.diabetes[:6].tolist(), own)


@case
def sklearn_joblib(m: Models) -> Case:
    own = m.own["ridge"].predict(m.diabetes[:6])
    return Case([(M.SKLEARN, m["ridge.joblib"])], m.diabetes[:6].tolist(), own)


@case
def sklearn_labels_of_a_pipeline(m: Models) -> Case:
    own = m.own["labels"].predict(m.cancer[:6])
    return Case([(M.SKLEARN, m["labels.pkl"])], m.cancer[:6].tolist(), own)


@case
def sklearn_classifier_pkl(m: Models) -> Case:
    own = m.own["forest"].predict_proba(m.wine[:6])
    return Case([(M.SKLEARN_CLASSIFIER, m["forest.pkl"])], m.wine[:6].tolist(), own)


@case
def sklearn_classifier_joblib(m: Models) -> Case:
    own = m.own["labels"].predict_proba(m.cancer[:6])
    return Case([(M.SKLEARN_CLASSIFIER, m["labels.joblib"])], m.cancer[:6].tolist(), own)


@case
def sklearn_preprocessor_pkl(m: Models) -> Case:
    own = m.own["scaler"].transform(m.wine[:6])
    return Case([(M.SKLEARN_PREPROCESSOR, m["scaler.pkl"])], m.wine[:6].tolist(), own)


@case
def sklearn_preprocessor_joblib(m: Models) -> Case:
    own = m.own["pca"].transform(m.digits[:6])
    return Case([(M.SKLEARN_PREPROCESSOR, m["pca.joblib"])], m.digits[:6].tolist(), own)


@case
def one_row_without_its_outer_brackets(m: Models) -> Case:
    own = m.own["ridge"].predict(m.diabetes[:1])
    return Case([(M.SKLEARN, m["ridge.pkl"])], m.diabetes[0].tolist(), own)


def by_hand(path: Path, feed: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answers = session.run(names, {session.get_inputs()[0].name: as_f32(feed)})
    return dict(zip(names, answers, strict=True))


@case
def onnx_with_one_output(m: Models) -> Case:
    (own,) = by_hand(m["ridge.onnx"], m.diabetes[:6]).values()
    return Case([(M.ONNX, m["ridge.onnx"])], {"X": m.diabetes[:6].tolist()}, own)


@case
def onnx_with_several_outputs(m: Models) -> Case:
    own = by_hand(m["forest.onnx"], m.wine[:6])
    assert set(own) == {"label", "probabilities"}
    return Case([(M.ONNX, m["forest.onnx"])], {"X": m.wine[:6].tolist()}, own)


@case
def onnx_with_rows_as_a_list_of_dicts(m: Models) -> Case:
    data = [{"X": row} for row in m.wine[:4].tolist()]
    return Case([(M.ONNX, m["forest.onnx"])], data, by_hand(m["forest.onnx"], m.wine[:4]))


@case
def onnx_with_a_bare_array(m: Models) -> Case:
    (own,) = by_hand(m["scaler.onnx"], m.wine[:6]).values()
    return Case([(M.ONNX, m["scaler.onnx"])], m.wine[:6].tolist(), own)


@case
def chain_of_torch_and_xgboost(m: Models) -> Case:
    flow = [(M.TORCH, m["net.pt"]), (M.XGBOOST_CLASSIFIER, m["hidden.ubj"])]
    own = m.own["hidden"].predict_proba(m.net(m.wine[:6]))
    return Case(flow, m.wine[:6].tolist(), own)


@case
def chain_of_scaler_and_xgboost(m: Models) -> Case:
    flow = [(M.SKLEARN_PREPROCESSOR, m["scaler.pkl"]), (M.XGBOOST_CLASSIFIER, m["scaled.json"])]
    own = m.own["scaled"].predict_proba(m.own["scaler"].transform(m.wine[:6]))
    return Case(flow, m.wine[:6].tolist(), own)


@case
def chain_of_two_sklearn_models(m: Models) -> Case:
    flow = [(M.SKLEARN_PREPROCESSOR, m["pca.pkl"]), (M.SKLEARN_CLASSIFIER, m["reduced.joblib"])]
    own = m.own["reduced"].predict_proba(m.own["pca"].transform(m.digits[:6]))
    return Case(flow, m.digits[:6].tolist(), own)


@case
def chain_of_onnx_and_xgboost(m: Models) -> Case:
    flow = [(M.ONNX, m["scaler.onnx"]), (M.XGBOOST_CLASSIFIER, m["scaled.json"])]
    (scaled,) = by_hand(m["scaler.onnx"], m.wine[:6]).values()
    return Case(flow, m.wine[:6].tolist(), m.own["scaled"].predict_proba(scaled))


@case
def chain_of_three_frameworks(m: Models) -> Case:
    flow = [
        (M.TORCH, m["net.pt"]),
        (M.XGBOOST_CLASSIFIER, m["hidden.json"]),
        (M.SKLEARN, m["last.pkl"]),
    ]
    own = m.own["last"].predict(m.own["hidden"].predict_proba(m.net(m.wine[:6])))
    return Case(flow, m.wine[:6].tolist(), own)


def named_rows(data: Any) -> Any:
    save("names", [point["name"] for point in data])
    return np.array([point["row"] for point in data])


def best_by_name(result: Any) -> Any:
    return dict(zip(get("names"), result.argmax(axis=1), strict=True))


@case
def functions_around_one_model(m: Models) -> Case:
    flow = [(M.SKLEARN_CLASSIFIER, m["forest.pkl"], {"pre": named_rows, "post": best_by_name})]
    data = [{"name": f"wine {i}", "row": m.wine[i].tolist()} for i in (0, 70, 150)]
    best = m.own["forest"].predict_proba(m.wine[[0, 70, 150]]).argmax(axis=1)
    return Case(flow, data, {point["name"]: int(b) for point, b in zip(data, best, strict=True)})


@case
def functions_in_every_stage(m: Models) -> Case:
    def halved(result: Any) -> Any:
        return result / 2

    def doubled(data: Any) -> Any:
        return data * 2

    def with_request(result: Any, data: Any) -> Any:
        return {"best": result.argmax(axis=1), "sum": float(np.sum(data)), "proba": result}

    flow = [
        (M.TORCH, m["net.pt"], {"pre": as_f32, "post": halved}),
        (M.XGBOOST_CLASSIFIER, m["hidden.json"], {"pre": doubled, "post": with_request}),
    ]
    proba = m.own["hidden"].predict_proba(m.net(m.wine[:6]))
    expected = {"best": proba.argmax(axis=1), "sum": float(np.sum(m.wine[:6])), "proba": proba}
    return Case(flow, m.wine[:6].tolist(), expected)


@case
def files_in_pre_and_post(m: Models) -> Case:
    def rows_of(data: Any, files: Any) -> Any:
        return np.stack([np.frombuffer(f.read(), dtype="<f8") for f in files])

    def sizes(result: Any, data: Any, files: Any) -> Any:
        return [
            {"name": d, "file": f.name, "bytes": len(f.read()), "kind": r.argmax()}
            for d, f, r in zip(data, files, result, strict=True)
        ]

    flow = [(M.XGBOOST_CLASSIFIER, m["kinds.ubj"], {"pre": rows_of, "post": sizes})]
    kinds = m.own["kinds"].predict_proba(m.wine[[3, 90]]).argmax(axis=1)
    files = tuple((f"{i}.f8", m.wine[i].astype("<f8").tobytes()) for i in (3, 90))
    expected = [
        {"name": n, "file": f[0], "bytes": 104, "kind": int(k)}
        for n, f, k in zip("ab", files, kinds, strict=True)
    ]
    return Case(flow, ["a", "b"], expected, files)


@pytest.mark.parametrize("title", CASES)
def test_the_same_data_gives_the_same_json_here_over_http_and_from_the_framework(
    models: Models, put: Any, title: str
) -> None:
    made = CASES[title](models)
    here = Conduit("here", None, made.flow).run(made.data, made.files)
    there = put(made.flow).predict(made.data, files=list(made.files) or None)
    assert json.dumps(there) == json.dumps(here)
    assert_equals_framework(there, made.expected)


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


def test_parameters_are_refused_alike_here_and_there(models: Models, put: Any) -> None:
    flow = [(M.SKLEARN, models["ridge.pkl"])]
    data = models.diabetes[:2].tolist()
    told = []
    for call in (Conduit("here", None, flow).run, put(flow).predict):
        with pytest.raises(PenstockError, match="parameters") as caught:
            call(data, parameters={"temperature": 1})
        told.append((caught.value.code, caught.value.message, caught.value.hint))
    assert told[0] == told[1]
    assert told[0][0] == "input_mismatch"


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_arrays_sent_as_npy_give_the_numbers_of_the_json_call(
    models: Models, put_once: Any, rows: int
) -> None:
    endpoint = put_once([(M.XGBOOST_CLASSIFIER, models["kinds.json"])], "npy-and-json")
    data = models.wine[:rows]
    packed = io.BytesIO()
    np.save(packed, data)
    answer = httpx2.post(
        endpoint.url,
        content=packed.getvalue(),
        headers={"Authorization": endpoint._api_key, "Content-Type": "application/x-npy"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"] == endpoint.predict(data.tolist())
