"""The numbered requirements of processing functions that show at deploy or on a server.

Those that the flow runtime alone can show are in tests/unit/flow/test_requirements.py and
tests/unit/core/test_flow.py; `test_every_requirement_has_a_test` looks for all of them.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from penstock import Conduit, Endpoint, deploy, model_type
from penstock.core.errors import (
    InvalidName,
    InvalidSignature,
    MissingImports,
    MissingModelFile,
    NoKey,
    Unauthorized,
    UndefinedName,
)

TESTS = Path(__file__).parents[1]
ROWS = load_wine().data[::60].tolist()
OFFSET = 0.25


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows, kinds = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, kinds)
    path = tmp_path_factory.mktemp("wine") / "wine.pkl"
    path.write_bytes(pickle.dumps(model))
    return path


def flow(wine: Path, **functions: Any) -> list[tuple[Any, ...]]:
    return [(model_type.SKLEARN_CLASSIFIER, wine, functions)]


def told(endpoint: Endpoint, **request: Any) -> tuple[int, dict[str, Any]]:
    """Return status and error of a call."""
    headers = {"Authorization": str(endpoint._api_key)}
    answer = httpx2.post(endpoint.url, headers=headers, timeout=60, **request)
    return answer.status_code, answer.json()["error"]


def test_every_requirement_has_a_test() -> None:
    found = set()
    for path in TESTS.rglob("test_*.py"):
        found |= {int(n) for n in re.findall(r"def test_s(\d\d)_", path.read_text())}
    assert found == set(range(1, 25))


def test_s04_files_to_a_flow_without_file_functions_are_422_and_the_functions_are_named(
    wine: Path, put: Any
) -> None:
    endpoint = put(flow(wine, pre=lambda data: data))
    status, error = told(endpoint, data={"data": "[]"}, files={"files": b"bytes"})
    assert (status, error["code"]) == (422, "files_not_used")
    assert "pre(data, files)" in error["hint"]


@pytest.mark.parametrize("arguments", [0, 3, 4])
def test_s05_a_pre_of_another_number_of_arguments_is_refused_at_deploy(
    wine: Path, put: Any, arguments: int
) -> None:
    pre = eval(f"lambda {', '.join('abcd'[:arguments])}: []")
    with pytest.raises(InvalidSignature, match="pre of stage 1") as caught:
        put(flow(wine, pre=pre))
    assert "pre(data), pre(data, files)" in str(caught.value)


def test_s06_a_pre_that_returns_nothing_is_500_and_named(wine: Path, put: Any) -> None:
    status, error = told(put(flow(wine, pre=lambda data: None)), json=ROWS)
    assert (status, error["code"]) == (500, "returned_none")
    assert (error["stage"], error["function"]) == (1, "pre")


def test_s07_what_pre_made_wrong_is_500_with_expected_and_got(wine: Path, put: Any) -> None:
    endpoint = put(flow(wine, pre=lambda data: [row[:4] for row in data]))
    status, error = told(endpoint, json=ROWS)
    assert (status, error["code"], error["stage"]) == (500, "stage_mismatch", 1)
    assert "expected 13 values per row" in error["message"]
    assert "pre of stage 1 returned 4" in error["message"]


def test_s09_a_post_returns_one_value_and_none_is_500_and_named(wine: Path, put: Any) -> None:
    def post(result: Any) -> Any:
        result.argmax(axis=1)

    status, error = told(put(flow(wine, post=post)), json=ROWS)
    assert (status, error["code"]) == (500, "returned_none")
    assert (error["stage"], error["function"]) == (1, "post")
    assert "post()" in error["message"]


def test_s11_a_result_without_a_json_form_is_500_with_path_and_type(wine: Path, put: Any) -> None:
    endpoint = put(flow(wine, post=lambda result: {"a": [1, {2}]}))
    status, error = told(endpoint, json=ROWS)
    assert (status, error["code"]) == (500, "result_not_serialisable")
    assert 'result["a"][1]' in error["message"]
    assert "set" in error["message"]


def test_s12_a_two_argument_post_named_like_files_is_warned_of_at_deploy(
    wine: Path, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def post(result: Any, files: Any) -> Any:
        return {"got": files == ROWS}

    key = server.keys["deploy"]
    endpoint = deploy(flow(wine, post=post), "warned-of", key, server=server.url)
    shown = " ".join(capsys.readouterr().out.split())
    assert "names its second parameter `files`" in shown
    assert endpoint.predict(ROWS) == {"got": True}
    endpoint.delete()


def test_s16_deploy_returns_the_endpoint_whose_url_answers(wine: Path, put: Any) -> None:
    endpoint = put(flow(wine))
    own = pickle.loads(wine.read_bytes()).predict_proba(ROWS)
    assert isinstance(endpoint, str)
    answer = httpx2.post(
        str(endpoint), json=ROWS, headers={"Authorization": str(endpoint._api_key)}
    )
    assert answer.status_code == 200
    np.testing.assert_allclose(answer.json()["result"], own, rtol=1e-9)


def test_s16_a_name_that_is_not_legal_is_refused_at_once(wine: Path, put: Any) -> None:
    for name in ("", "Wine", "wine_1", "-wine", "wine-", "w" * 21, "wine\n"):
        with pytest.raises(InvalidName):
            Conduit(name, None, flow(wine))


def test_s20_a_library_the_server_lacks_is_refused_at_deploy_with_what_to_install(
    wine: Path, put: Any
) -> None:
    def pre(data: Any) -> Any:
        import cv2

        return cv2.imdecode(data)

    with pytest.raises(MissingImports) as caught:
        put(flow(wine, pre=pre))
    assert (caught.value.stage, caught.value.function) == (1, "pre")
    assert "`pre` of stage 1 imports `cv2`" in caught.value.message
    assert "opencv-python-headless" in str(caught.value.hint)


def test_s20_the_usual_libraries_work_inside_functions(wine: Path, put: Any) -> None:
    def pre(data: Any) -> Any:
        import pandas as pd
        import sklearn
        import torch
        from PIL import Image

        assert sklearn.__version__
        assert Image.new("L", (1, 1)).size == (1, 1)
        frame = pd.DataFrame(data)
        return torch.tensor(frame.to_numpy())

    np.testing.assert_allclose(
        put(flow(wine, pre=pre)).predict(ROWS),
        pickle.loads(wine.read_bytes()).predict_proba(ROWS),
        rtol=1e-9,
    )


def helper(values: Any) -> list[float]:
    return [math.floor(v * 100) / 100 + OFFSET for v in values]


def test_s21_module_level_imports_helpers_and_constants_travel_with_the_function(
    wine: Path, put: Any
) -> None:
    def post(result: Any) -> Any:
        return {"best": Counter(result.argmax(axis=1).tolist()), "rows": list(map(helper, result))}

    own = pickle.loads(wine.read_bytes()).predict_proba(ROWS)
    found = put(flow(wine, post=post)).predict(ROWS)
    assert found["best"] == {str(k): v for k, v in Counter(own.argmax(axis=1).tolist()).items()}
    assert found["rows"] == [helper(row) for row in own]


def test_s21_a_name_that_is_defined_nowhere_is_refused_at_deploy(wine: Path, put: Any) -> None:
    def post(result: Any) -> Any:
        return nobody_defined_this(result)  # noqa: F821

    with pytest.raises(UndefinedName, match="nobody_defined_this") as caught:
        put(flow(wine, post=post))
    assert (caught.value.stage, caught.value.function) == (1, "post")


def test_s23_every_deployment_needs_a_key_and_a_wrong_one_is_401(
    wine: Path, server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PENSTOCK_PROFILE", str(tmp_path / "profile.json"))
    monkeypatch.delenv("PENSTOCK_API_KEY", raising=False)
    with pytest.raises(NoKey):
        deploy(flow(wine), "keyless", server=server.url, quiet=True)
    wrong = "pk_d_00000000_" + "x" * 32
    with pytest.raises(Unauthorized):
        deploy(flow(wine), "keyless", wrong, server=server.url, quiet=True)
    monkeypatch.setenv("PENSTOCK_API_KEY", server.keys["deploy"])
    endpoint = deploy(flow(wine), "keyed", server=server.url, quiet=True)
    assert len(endpoint.predict(ROWS)) == len(ROWS)
    assert httpx2.post(endpoint.url, json=ROWS).status_code == 401
    endpoint.delete()


@pytest.mark.parametrize("stage", [1, 2])
def test_s24_an_empty_path_is_refused_with_the_stage_and_what_is_missing(
    wine: Path, put: Any, stage: int
) -> None:
    broken = (model_type.TORCH, "")
    stages = [broken] if stage == 1 else [(model_type.SKLEARN_CLASSIFIER, wine), broken]
    with pytest.raises(MissingModelFile, match=f"Stage {stage} .*empty path"):
        put(stages)
