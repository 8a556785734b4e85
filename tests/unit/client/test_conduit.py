"""`Conduit`: what is checked when it is made, and what waits until it is loaded or deployed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from penstock.client import conduit as conduit_module
from penstock.client.conduit import Conduit
from penstock.core.errors import (
    InvalidCall,
    InvalidFlow,
    InvalidName,
    InvalidSignature,
    InvalidStage,
    MissingModelFile,
)
from penstock.core.flow import Flow
from penstock.core.flow import ModelType as model_type

KEY = "pk_d_0123abcd_0123456789abcdef0123456789abcdef"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "xgb.json"
    path.write_text("{}")
    return path


class Loaded:
    """Stands for a loaded flow and remembers which files it was loaded from."""

    def __init__(self, flow: Flow) -> None:
        self.paths = [stage.source for stage in flow.stages]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Loaded]:
    made: list[Loaded] = []

    def load(
        flow: Flow, _threads: int = 1, *, on_gpu: bool = False, pair_files: bool = False
    ) -> Loaded:
        assert not on_gpu
        assert not pair_files
        made.append(Loaded(flow))
        return made[-1]

    monkeypatch.setattr(conduit_module, "load_here", load)
    return made


def three(_data: Any, _files: Any, _more: Any) -> None:
    """No legal `pre`."""


def test_name_key_and_flow_are_positional_in_this_order(model: Path) -> None:
    flow = [(model_type.XGBOOST_CLASSIFIER, model)]
    conduit = Conduit("my-flow", KEY, flow)
    assert conduit.name == "my-flow"
    assert conduit.flow == flow
    assert conduit.endpoint is None


def test_one_stage_is_a_flow_of_one(model: Path) -> None:
    stage = (model_type.XGBOOST_CLASSIFIER, str(model))
    assert Conduit("a", KEY, stage).flow == [stage]


@pytest.mark.parametrize("name", ["", "Upper", "a" * 21, "-a", "a\n"])
def test_an_illegal_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(InvalidName):
        Conduit(name)


def test_arguments_in_the_wrong_order_say_the_right_one(model: Path) -> None:
    with pytest.raises(TypeError, match=r"Conduit\(name, api_key, flow\)"):
        Conduit([(model_type.TORCH, model)], "name", KEY)  # type: ignore[arg-type]


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(InvalidCall, match=r"no argument 'gpus'.*replicas"):
        Conduit("a", KEY, gpus=1)


def test_a_wrong_stage_is_refused_when_the_conduit_is_made(model: Path) -> None:
    with pytest.raises(InvalidStage, match="Stage 1"):
        Conduit("a", KEY, [("torch", model)])
    with pytest.raises(InvalidSignature, match="pre of stage 1"):
        Conduit("a", KEY, [(model_type.XGBOOST_CLASSIFIER, model, {"pre": three})])


def test_a_flow_that_is_no_list_is_refused() -> None:
    with pytest.raises(InvalidFlow):
        Conduit("a", KEY, {"stage": 1})  # type: ignore[arg-type]


def test_model_files_may_come_later(tmp_path: Path) -> None:
    conduit = Conduit("a", KEY, [(model_type.ONNX, "not-here.onnx")])
    with pytest.raises(MissingModelFile, match=r"not-here\.onnx"):
        conduit.load()


@pytest.mark.parametrize("act", ["load", "deploy"])
def test_an_empty_flow_is_refused_when_it_is_used(act: str) -> None:
    conduit = Conduit("a", KEY)
    with pytest.raises(InvalidFlow, match="flow is empty"):
        getattr(conduit, act)()


def test_an_empty_path_is_refused_naming_the_stage(model: Path) -> None:
    conduit = Conduit("a", KEY, [(model_type.XGBOOST_CLASSIFIER, model), (model_type.TORCH, "")])
    with pytest.raises(MissingModelFile, match=r"Stage 2 \(TORCH\) has an empty path"):
        conduit.deploy()


def test_load_takes_the_paths_as_given(model: Path, loads: list[Loaded]) -> None:
    conduit = Conduit("a", KEY, [(model_type.XGBOOST_CLASSIFIER, model)])
    assert conduit.load() is conduit
    assert loads[0].paths == [model]


def test_load_from_a_directory_takes_the_last_parts_of_the_paths(
    model: Path, loads: list[Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    conduit = Conduit("a", KEY, [(model_type.XGBOOST_CLASSIFIER, "/elsewhere/xgb.json")])
    conduit.load("./")
    conduit.load(str(model.parent))
    conduit.load(model.parent)
    assert [loaded.paths for loaded in loads] == [[Path("xgb.json")], [model], [model]]


def test_load_direct_from_the_flow_ignores_the_directory(model: Path, loads: list[Loaded]) -> None:
    Conduit("a", KEY, [(model_type.XGBOOST_CLASSIFIER, model)]).load("/cache/", True)
    assert loads[0].paths == [model]


def test_a_stage_that_is_added_is_loaded_too(model: Path, loads: list[Loaded]) -> None:
    conduit = Conduit("a", KEY)
    conduit.add_model(model_type.XGBOOST_CLASSIFIER, str(model))
    conduit.add_model(model_type.XGBOOST_REGRESSOR, model, {"post": lambda result: result})
    conduit.load()
    assert loads[0].paths == [model, model]


def test_a_stage_that_cannot_work_is_not_added(model: Path) -> None:
    conduit = Conduit("a", KEY)
    with pytest.raises(InvalidSignature):
        conduit.add_model(model_type.XGBOOST_CLASSIFIER, model, {"pre": three})
    assert conduit.flow == []


def test_no_text_form_and_no_pickle_holds_the_key(model: Path) -> None:
    conduit = Conduit("a", KEY, [(model_type.XGBOOST_CLASSIFIER, model)])
    assert repr(conduit) == "Conduit('a', 1 stage)"
    assert KEY.encode() not in pickle.dumps(conduit)
