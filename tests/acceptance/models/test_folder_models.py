"""Models that are folders: local, served and framework answers are the same."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from penstock import Conduit, PenstockError, model_type
from penstock.core.errors import MissingModelFile

M = model_type

WINE = load_wine(as_frame=True)
DIABETES = load_diabetes(as_frame=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """MLflow models of two flavours and three kinds of signature, with the fitted originals."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow.sklearn
        import mlflow.xgboost
        from mlflow.models import infer_signature

        folder = tmp_path_factory.mktemp("mlflow")
        ridge = make_pipeline(StandardScaler(), Ridge()).fit(DIABETES.data, DIABETES.target)
        trees = xgboost.XGBClassifier(n_estimators=12, max_depth=3, n_jobs=1, random_state=3)
        trees.fit(WINE.data, WINE.target)
        quiet: dict[str, Any] = {"pip_requirements": ["scikit-learn"]}
        columns = infer_signature(DIABETES.data, ridge.predict(DIABETES.data))
        mlflow.sklearn.save_model(ridge, folder / "columns", signature=columns, **quiet)
        tensor = infer_signature(WINE.data.to_numpy(), WINE.target.to_numpy())
        mlflow.xgboost.save_model(trees, folder / "tensor", signature=tensor, **quiet)
        plain = Ridge().fit(DIABETES.data.to_numpy(), DIABETES.target)
        mlflow.sklearn.save_model(plain, folder / "unsigned", **quiet)
    return {"folder": folder, "ridge": ridge, "trees": trees, "plain": plain}


def test_an_mlflow_model_with_columns_takes_rows_and_rows_by_name(saved: Any, agree: Any) -> None:
    rows = DIABETES.data.head(5)
    flow = [(M.MLFLOW, saved["folder"] / "columns")]
    own = saved["ridge"].predict(rows)
    agree(flow, rows.to_numpy().tolist(), own)
    agree(flow, rows.to_dict("records"), own)
    agree(flow, rows.iloc[0].tolist(), own[:1])


def test_an_mlflow_model_with_a_tensor_signature_takes_an_array(saved: Any, agree: Any) -> None:
    rows = WINE.data.to_numpy()[[3, 90, 150]]
    agree([(M.MLFLOW, saved["folder"] / "tensor")], rows.tolist(), saved["trees"].predict(rows))


def test_an_mlflow_model_without_a_signature_takes_a_table(saved: Any, agree: Any) -> None:
    rows = DIABETES.data.to_numpy()[:4]
    flow = [(M.MLFLOW, str(saved["folder"] / "unsigned"))]
    agree(flow, rows.tolist(), saved["plain"].predict(rows))


def test_our_answer_is_that_of_mlflows_own_predict(saved: Any) -> None:
    import mlflow.pyfunc

    frame = pd.DataFrame(DIABETES.data.to_numpy()[:7], columns=list(DIABETES.data.columns))
    own = mlflow.pyfunc.load_model(str(saved["folder"] / "columns")).predict(frame)
    flow = [(M.MLFLOW, saved["folder"] / "columns")]
    ours = Conduit("here", None, flow).run(frame.to_numpy().tolist())
    np.testing.assert_allclose(ours, own, rtol=1e-13)  # sums in the order of memory


def test_what_does_not_fit_the_signature_is_the_callers_mistake(saved: Any) -> None:
    conduit = Conduit("here", None, [(M.MLFLOW, saved["folder"] / "columns")]).load()
    for data in ([[1.0, 2.0]], [{"age": 1.0}], [["a"] * 10]):
        with pytest.raises(PenstockError) as caught:
            conduit.run(data)
        assert caught.value.code == "input_mismatch"


def test_a_second_version_sends_only_the_files_that_changed(
    saved: Any, put: Any, tmp_path: Path, capfd: Any
) -> None:
    flow = [(M.MLFLOW, saved["folder"] / "columns")]
    endpoint = put(flow, "two-folders")
    changed = tmp_path / "columns"
    shutil.copytree(saved["folder"] / "columns", changed)
    (changed / "conda.yaml").write_text("changed: true\n")
    again = put([(M.MLFLOW, changed)], "two-folders")
    rows = DIABETES.data.to_numpy()[:2].tolist()
    assert (endpoint.url, again.version) == (again.url, 2)
    assert again.predict(rows) == Conduit("here", None, flow).run(rows)


def test_a_folder_that_mlflow_did_not_save_says_so(tmp_path: Path, put: Any) -> None:
    (tmp_path / "weights.bin").write_bytes(b"0")
    with pytest.raises(PenstockError, match="has no MLmodel file") as caught:
        put([(M.MLFLOW, tmp_path)])
    assert caught.value.code == "load_failed"
    with pytest.raises(MissingModelFile, match="there is no folder"):
        put([(M.MLFLOW, tmp_path / "nowhere")])
