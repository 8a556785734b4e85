"""A stage may have the model itself in place of a path: it is saved in its safest form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_zoo import DIABETES, PROGRESS, WINE
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from torch import nn

from penstock import Conduit, PenstockError, model_type
from penstock.core.errors import InvalidStage

M = model_type

#: Which file each object becomes: its suffix, and whether loading that can run code.
FORMS: dict[str, tuple[str, bool]] = {
    "XGBOOST_CLASSIFIER .json": (".ubj", False),
    "XGBOOST_REGRESSOR .ubj": (".ubj", False),
    "LIGHTGBM .txt, three classes": (".txt", False),
    "LIGHTGBM .txt, two classes": (".txt", False),
    "CATBOOST .cbm, two classes": (".cbm", False),
    "SKLEARN .pkl": (".skops", False),
    "SKLEARN_CLASSIFIER .joblib": (".skops", False),
    "SKLEARN_PREPROCESSOR .pkl": (".skops", False),
    "SKOPS classifier": (".skops", False),
    "TORCH TorchScript": (".pt", False),
    "TORCH torch.export": (".pt2", True),
    "TORCH weights": (".pt", False),
    "SAFETENSORS .safetensors": (".safetensors", False),
    "ONNX .onnx": (".onnx", False),
    "KERAS .keras": (".keras", False),
}


@pytest.mark.parametrize("title", FORMS)
def test_an_object_is_saved_without_code_and_answers_as_it_does_here(
    zoo: Any, put: Any, title: str
) -> None:
    one = zoo[title]
    kind, _, *functions = one.stage
    flow = [(kind, one.live, *functions)]
    rows = one.rows[[0, 70, 150]]
    here = Conduit("here", None, flow).run(rows.tolist())
    np.testing.assert_allclose(here, one.own(rows), rtol=1e-5, atol=1e-6)
    endpoint = put(flow)
    assert json.dumps(endpoint.predict(rows.tolist())) == json.dumps(here)
    (stage,) = endpoint.versions()[-1].stages
    assert (Path(stage["model"]).suffix, stage["runs_code"]) == FORMS[title]


class Gated(nn.Module):
    """More Python than TorchScript has: it can only be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(13, 3)
        self.gates = {"half": lambda x: x / 2}

    def forward(self, x: Any) -> Any:
        return self.gates["half"](self.line(x))


class Doubled(BaseEstimator):
    """An estimator of the user's own class, which skops must not trust."""

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner

    def fit(self, x: Any, y: Any) -> Doubled:
        self.inner_ = (self.inner or Ridge()).fit(x, y)
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, x: Any) -> Any:
        return 2.0 * self.inner_.predict(x)


def test_what_no_safe_format_can_hold_is_pickled_by_value(put: Any) -> None:
    import torch

    torch.manual_seed(3)
    net, doubled = Gated().eval(), Doubled().fit(DIABETES, PROGRESS)
    with torch.inference_mode():
        own = net(torch.tensor(WINE[:2], dtype=torch.float32)).numpy()
    cases = [((M.TORCH, net), WINE[:2], own), ((M.SKLEARN, doubled), DIABETES[:2], None)]
    for stage, rows, expected in cases:
        endpoint = put([stage])
        answer = endpoint.predict(rows.tolist())
        np.testing.assert_allclose(
            answer, doubled.predict(rows) if expected is None else expected, rtol=1e-5
        )
        (shown,) = endpoint.versions()[-1].stages
        assert (Path(shown["model"]).suffix, shown["runs_code"]) == (".pkl", True)


def test_an_object_is_saved_as_it_is_when_it_is_deployed_not_when_it_was_named(put: Any) -> None:
    ridge = Ridge(alpha=1e6).fit(DIABETES, PROGRESS)
    conduit = Conduit("here", None, [(M.SKLEARN, ridge)])
    before = conduit.run(DIABETES[:2].tolist())
    ridge.set_params(alpha=1e-3).fit(DIABETES, PROGRESS)
    after = conduit.load().run(DIABETES[:2].tolist())
    assert before != after
    np.testing.assert_allclose(after, ridge.predict(DIABETES[:2]))


def test_an_object_of_another_library_is_refused_at_once() -> None:
    for given in (Ridge(), object(), 3, None):
        with pytest.raises(InvalidStage, match=r"Stage 1 \(KERAS\).*or a model of keras"):
            Conduit("here", None, [(M.KERAS, given)])


def test_an_object_that_is_not_fitted_says_so() -> None:
    with pytest.raises(PenstockError, match="not fitted"):
        Conduit("here", None, [(M.SKLEARN, Ridge())]).load()


def test_skops_refuses_to_save_and_to_load_classes_of_ones_own(tmp_path: Path) -> None:
    import skops.io

    doubled = Doubled().fit(DIABETES, PROGRESS)
    path = tmp_path / "doubled.skops"
    skops.io.dump(doubled, path)
    with pytest.raises(PenstockError, match=r"not known to be harmless: .*Doubled"):
        Conduit("here", None, [(M.SKOPS, path)]).load()
