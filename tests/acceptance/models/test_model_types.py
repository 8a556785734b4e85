"""Every model type and file form alone: local, served and framework answers are the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest

from penstock import Conduit, PenstockError, model_type

M = model_type

Case = Callable[[Any], Any]
CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    """Register a case: it returns flow, data, the framework's answer and, if any, files."""
    CASES[make.__name__] = make
    return make


@case
def torch_torchscript(m: Any) -> Any:
    return ([(M.TORCH, m["net.pt"])], m.wine[:5].tolist(), m.net(m.wine[:5]))


@case
def torch_saved_module_that_was_in_training_mode(m: Any) -> Any:
    rows = m.digits[:5]
    return ([(M.TORCH, m["digits.pth"])], rows.tolist(), m.net(rows, "digits_net"))


@case
def torch_pickled_module_of_a_class_of_ones_own(m: Any) -> Any:
    rows = m.wine[7:12]
    return ([(M.TORCH, m["doubled.pkl"])], rows.tolist(), m.net(rows, "doubled"))


def boosted_classes(m: Any, suffix: str) -> Any:
    own = m.own["kinds"].predict_proba(m.wine[:6])
    return ([(M.XGBOOST_CLASSIFIER, m[f"kinds{suffix}"])], m.wine[:6].tolist(), own)


@case
def xgboost_classifier_json(m: Any) -> Any:
    return boosted_classes(m, ".json")


@case
def xgboost_classifier_ubj(m: Any) -> Any:
    return boosted_classes(m, ".ubj")


@case
def xgboost_classifier_pkl(m: Any) -> Any:
    return boosted_classes(m, ".pkl")


@case
def xgboost_classifier_of_two_classes(m: Any) -> Any:
    own = m.own["benign"].predict_proba(m.cancer[:6])
    return ([(M.XGBOOST_CLASSIFIER, m["benign.json"])], m.cancer[:6].tolist(), own)


def boosted_numbers(m: Any, suffix: str) -> Any:
    own = m.own["progress"].predict(m.diabetes[:6])
    return ([(M.XGBOOST_REGRESSOR, m[f"progress{suffix}"])], m.diabetes[:6].tolist(), own)


@case
def xgboost_regressor_json(m: Any) -> Any:
    return boosted_numbers(m, ".json")


@case
def xgboost_regressor_ubj(m: Any) -> Any:
    return boosted_numbers(m, ".ubj")


@case
def xgboost_regressor_pkl(m: Any) -> Any:
    return boosted_numbers(m, ".pkl")


@case
def xgboost_with_a_missing_value(m: Any) -> Any:
    rows = m.diabetes[:3].copy()
    rows[1, 2] = np.nan
    data = [[None if np.isnan(v) else v for v in row] for row in rows.tolist()]
    return ([(M.XGBOOST_REGRESSOR, m["progress.json"])], data, m.own["progress"].predict(rows))


@case
def sklearn_pkl(m: Any) -> Any:
    own = m.own["ridge"].predict(m.diabetes[:6])
    return ([(M.SKLEARN, m["ridge.pkl"])], m.diabetes[:6].tolist(), own)


@case
def sklearn_joblib(m: Any) -> Any:
    own = m.own["ridge"].predict(m.diabetes[:6])
    return ([(M.SKLEARN, m["ridge.joblib"])], m.diabetes[:6].tolist(), own)


@case
def sklearn_labels_of_a_pipeline(m: Any) -> Any:
    own = m.own["labels"].predict(m.cancer[:6])
    return ([(M.SKLEARN, m["labels.pkl"])], m.cancer[:6].tolist(), own)


@case
def sklearn_classifier_pkl(m: Any) -> Any:
    own = m.own["forest"].predict_proba(m.wine[:6])
    return ([(M.SKLEARN_CLASSIFIER, m["forest.pkl"])], m.wine[:6].tolist(), own)


@case
def sklearn_classifier_joblib(m: Any) -> Any:
    own = m.own["labels"].predict_proba(m.cancer[:6])
    return ([(M.SKLEARN_CLASSIFIER, m["labels.joblib"])], m.cancer[:6].tolist(), own)


@case
def sklearn_preprocessor_pkl(m: Any) -> Any:
    own = m.own["scaler"].transform(m.wine[:6])
    return ([(M.SKLEARN_PREPROCESSOR, m["scaler.pkl"])], m.wine[:6].tolist(), own)


@case
def sklearn_preprocessor_joblib(m: Any) -> Any:
    own = m.own["pca"].transform(m.digits[:6])
    return ([(M.SKLEARN_PREPROCESSOR, m["pca.joblib"])], m.digits[:6].tolist(), own)


@case
def one_row_without_its_outer_brackets(m: Any) -> Any:
    own = m.own["ridge"].predict(m.diabetes[:1])
    return ([(M.SKLEARN, m["ridge.pkl"])], m.diabetes[0].tolist(), own)


@case
def onnx_with_one_output(m: Any) -> Any:
    (own,) = m.onnx("ridge.onnx", m.diabetes[:6]).values()
    return ([(M.ONNX, m["ridge.onnx"])], {"X": m.diabetes[:6].tolist()}, own)


@case
def onnx_with_several_outputs(m: Any) -> Any:
    own = m.onnx("forest.onnx", m.wine[:6])
    assert set(own) == {"label", "probabilities"}
    return ([(M.ONNX, m["forest.onnx"])], {"X": m.wine[:6].tolist()}, own)


@case
def onnx_with_rows_as_a_list_of_dicts(m: Any) -> Any:
    data = [{"X": row} for row in m.wine[:4].tolist()]
    return ([(M.ONNX, m["forest.onnx"])], data, m.onnx("forest.onnx", m.wine[:4]))


@case
def onnx_with_a_bare_array(m: Any) -> Any:
    (own,) = m.onnx("scaler.onnx", m.wine[:6]).values()
    return ([(M.ONNX, m["scaler.onnx"])], m.wine[:6].tolist(), own)


@pytest.mark.parametrize("title", CASES)
def test_the_same_data_gives_the_same_json_here_over_http_and_from_the_framework(
    models: Any, agree: Any, title: str
) -> None:
    agree(*CASES[title](models))


def test_parameters_are_refused_alike_here_and_there(models: Any, put: Any) -> None:
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
    models: Any, put_once: Any, rows: int
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
