"""Models in a row and processing functions around them: local, served and by hand the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from penstock import get, model_type, save

M = model_type

Case = Callable[[Any], Any]
CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    """Register a case: it returns flow, data, the framework's answer and, if any, files."""
    CASES[make.__name__] = make
    return make


@case
def chain_of_torch_and_xgboost(m: Any) -> Any:
    flow = [(M.TORCH, m["net.pt"]), (M.XGBOOST_CLASSIFIER, m["hidden.ubj"])]
    own = m.own["hidden"].predict_proba(m.net(m.wine[:6]))
    return (flow, m.wine[:6].tolist(), own)


@case
def chain_of_scaler_and_xgboost(m: Any) -> Any:
    flow = [(M.SKLEARN_PREPROCESSOR, m["scaler.pkl"]), (M.XGBOOST_CLASSIFIER, m["scaled.json"])]
    own = m.own["scaled"].predict_proba(m.own["scaler"].transform(m.wine[:6]))
    return (flow, m.wine[:6].tolist(), own)


@case
def chain_of_two_sklearn_models(m: Any) -> Any:
    flow = [(M.SKLEARN_PREPROCESSOR, m["pca.pkl"]), (M.SKLEARN_CLASSIFIER, m["reduced.joblib"])]
    own = m.own["reduced"].predict_proba(m.own["pca"].transform(m.digits[:6]))
    return (flow, m.digits[:6].tolist(), own)


@case
def chain_of_onnx_and_xgboost(m: Any) -> Any:
    flow = [(M.ONNX, m["scaler.onnx"]), (M.XGBOOST_CLASSIFIER, m["scaled.json"])]
    (scaled,) = m.onnx("scaler.onnx", m.wine[:6]).values()
    return (flow, m.wine[:6].tolist(), m.own["scaled"].predict_proba(scaled))


@case
def chain_of_three_frameworks(m: Any) -> Any:
    flow = [
        (M.TORCH, m["net.pt"]),
        (M.XGBOOST_CLASSIFIER, m["hidden.json"]),
        (M.SKLEARN, m["last.pkl"]),
    ]
    own = m.own["last"].predict(m.own["hidden"].predict_proba(m.net(m.wine[:6])))
    return (flow, m.wine[:6].tolist(), own)


def as_f32(rows: Any) -> Any:
    return np.asarray(rows, dtype=np.float32)


def named_rows(data: Any) -> Any:
    save("names", [point["name"] for point in data])
    return np.array([point["row"] for point in data])


def best_by_name(result: Any) -> Any:
    return dict(zip(get("names"), result.argmax(axis=1), strict=True))


@case
def functions_around_one_model(m: Any) -> Any:
    flow = [(M.SKLEARN_CLASSIFIER, m["forest.pkl"], {"pre": named_rows, "post": best_by_name})]
    data = [{"name": f"wine {i}", "row": m.wine[i].tolist()} for i in (0, 70, 150)]
    best = m.own["forest"].predict_proba(m.wine[[0, 70, 150]]).argmax(axis=1)
    return (flow, data, {point["name"]: int(b) for point, b in zip(data, best, strict=True)})


@case
def functions_in_every_stage(m: Any) -> Any:
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
    return (flow, m.wine[:6].tolist(), expected)


@case
def files_in_pre_and_post(m: Any) -> Any:
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
    return (flow, ["a", "b"], expected, files)


@pytest.mark.parametrize("title", CASES)
def test_the_same_data_gives_the_same_json_here_over_http_and_from_the_framework(
    models: Any, agree: Any, title: str
) -> None:
    agree(*CASES[title](models))
