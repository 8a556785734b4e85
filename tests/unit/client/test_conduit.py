"""`Conduit`: what is checked when it is made, and what waits until it is loaded or deployed."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from penstock.client import conduit as conduit_module
from penstock.client.conduit import Conduit
from penstock.core.errors import (
    InvalidCall,
    InvalidFlow,
    InvalidName,
    InvalidSetting,
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


def test_the_arguments_of_the_original_are_taken_with_what_they_were_by_default(
    model: Path,
) -> None:
    made = Conduit(
        "wine", KEY, [(model_type.XGBOOST_CLASSIFIER, str(model))], hardware=None, cpu=None,
        memory=None, python_version=None, from_json="", requirements_file="", cooldown=60,
        min_replicas=None, max_replicas=None, force_rebuild=None,
    )  # fmt: skip
    assert made.name == "wine"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cooldown": 0}, "cooldown is 0; it must be from 0.05 to 604800"),
        ({"cooldown": "60"}, "cooldown is '60'; it must be a number"),
        ({"min_replicas": 3, "max_replicas": 1}, "min_replicas is 3 and max_replicas is 1"),
        ({"min_replicas": 1.5}, "min_replicas is 1.5; it must be a whole number"),
        ({"min_replicas": True}, "min_replicas is True; it must be a whole number"),
        ({"max_replicas": 0}, "max_replicas is 0; it must be from 1 to 64"),
        ({"replicas": "many"}, "replicas is 'many'; it must be a whole number or \"auto\""),
        ({"memory": "8"}, "memory is '8'; it must be a number"),
        ({"memory": 2e9}, "memory is 2000000000.0; it must be from 0.001 to 1048576"),
        ({"cpu": 1000}, "cpu is 1000; it must be from 0.01 to 256"),
        ({"threads": 0}, "threads is 0; it must be from 1 to 256"),
        ({"network": "some"}, "network is 'some'; it must be 'all' or 'none'"),
    ],
)
def test_numbers_that_cannot_be_right_are_refused_at_once(
    model: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(says)):
        Conduit("wine", KEY, [(model_type.XGBOOST_CLASSIFIER, model)], **options)


def test_numbers_of_numpy_are_numbers(model: Path) -> None:
    np = pytest.importorskip("numpy")
    stage = (model_type.XGBOOST_CLASSIFIER, model)
    made = Conduit("wine", KEY, stage, max_replicas=np.int64(3), cooldown=np.float32(0.5))
    told = made._options.scaling()
    assert told == {"max_replicas": 3, "cooldown_s": 0.5}
    assert Conduit("wine", KEY, stage, example=np.ones((2, 2)))._options.has_example
    assert [type(value) for value in told.values()] == [int, float]


def test_a_model_type_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"deploy the model itself.*TORCH, XGBOOST"):
        model_type.PREBUILT  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean SKLEARN_CLASSIFIER"):
        model_type.SKLEARN_CLASIFIER  # noqa: B018


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
