"""What a user may write as a flow, and how each mistake is answered (S1, S5, S8, S12, S15)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import InvalidFlow, InvalidSignature, InvalidStage, MissingModelFile
from penstock.core.flow import Flow, ModelType
from penstock.core.model_types import ARTIFACTS, PluginType


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    path.write_text("{}")
    return path


def stage(model: object, functions: object = None) -> tuple[Any, ...]:
    return (ModelType.XGBOOST_CLASSIFIER, model, functions)


def test_s01_a_stage_may_carry_pre_and_post_either_or_none(model: Path) -> None:
    def pre(data: Any) -> Any: ...
    def post(result: Any) -> Any: ...

    for given in ({"pre": pre, "post": post}, {"pre": pre}, {"post": post}, {}, None):
        (parsed,) = Flow.parse([stage(model, given)]).stages
        assert parsed.functions() == (given or {})


def test_s01_a_bare_function_means_post(model: Path) -> None:
    def f(result: Any) -> Any: ...

    (parsed,) = Flow.parse([stage(model, f)]).stages
    assert parsed.post is f
    assert parsed.pre is None


def test_s01_an_unknown_key_names_the_stage_the_key_and_the_allowed_ones(model: Path) -> None:
    with pytest.raises(InvalidStage, match=r"Stage 2.*\['prep'\].*'pre' and 'post'") as caught:
        Flow.parse([stage(model), stage(model, {"prep": print})])
    assert caught.value.stage == 2
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("role", ["pre", "post"])
def test_s01_what_is_not_a_function_is_refused_with_its_own_role(model: Path, role: str) -> None:
    with pytest.raises(InvalidStage, match=f"{role} is int 3") as caught:
        Flow.parse([stage(model, {role: 3})])
    assert caught.value.function == role


PRE_OK: dict[int, list[Callable[..., Any]]] = {
    1: [lambda data: data, partial(lambda factor, data: data, 2)],
    2: [lambda data, files: data, lambda *args: args, lambda data, files=None: data],
}


@pytest.mark.parametrize(("count", "function"), [(n, f) for n, fs in PRE_OK.items() for f in fs])
def test_s05_pre_takes_one_or_two_arguments(
    model: Path, count: int, function: Callable[..., Any]
) -> None:
    (parsed,) = Flow.parse([stage(model, {"pre": function})]).stages
    assert parsed.pre_arguments == count


PRE_BAD: list[Callable[..., Any]] = [lambda: 0, lambda a, b, c: 0, lambda data, *, k: 0]


@pytest.mark.parametrize("function", PRE_BAD)
def test_s05_any_other_pre_is_refused_showing_signature_and_forms(
    model: Path, function: Callable[..., Any]
) -> None:
    with pytest.raises(InvalidSignature, match=r"pre of stage 1") as caught:
        Flow.parse([stage(model, {"pre": function})])
    assert "<lambda>(" in str(caught.value)
    assert "pre(data), pre(data, files)" in str(caught.value)


def test_s05_the_real_signature_counts_not_the_source_text(model: Path) -> None:
    def logged(f: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(f)
        def inner(*args: Any) -> Any:
            return f(*args)

        return inner

    @logged
    def pre(
        data: dict[str, int],
        files: list[tuple[int, str]],
    ) -> Any: ...

    (parsed,) = Flow.parse([stage(model, {"pre": pre})]).stages
    assert parsed.pre_arguments == 2


@pytest.mark.parametrize(
    ("count", "function"),
    [(1, lambda r: r), (2, lambda r, i: r), (3, lambda r, i, f: r), (3, lambda *a: a)],
)
def test_s08_post_takes_one_two_or_three_arguments(
    model: Path, count: int, function: Callable[..., Any]
) -> None:
    (parsed,) = Flow.parse([stage(model, {"post": function})]).stages
    assert parsed.post_arguments == count


@pytest.mark.parametrize("function", [lambda: 0, lambda a, b, c, d: 0])
def test_s08_any_other_post_is_refused_showing_signature_and_forms(
    model: Path, function: Callable[..., Any]
) -> None:
    with pytest.raises(InvalidSignature, match=r"post\(result, input_data, files\)"):
        Flow.parse([stage(model, {"post": function})])


def test_s12_files_need_the_third_argument_of_post(model: Path) -> None:
    assert not Flow.parse([stage(model, {"post": lambda result, files: 0})]).uses_files
    assert Flow.parse([stage(model, {"post": lambda result, input_data, files: 0})]).uses_files
    assert Flow.parse([stage(model, {"pre": lambda data, files: 0})]).uses_files


def test_s15_stages_without_functions_may_precede_one_with_functions(model: Path) -> None:
    flow = Flow.parse([(ModelType.XGBOOST_CLASSIFIER, model), stage(model, lambda r: r)])
    assert [sorted(s.functions()) for s in flow.stages] == [[], ["post"]]


def test_s15_one_stage_tuple_is_a_flow(model: Path) -> None:
    assert len(Flow.parse((ModelType.XGBOOST_REGRESSOR, str(model))).stages) == 1


@pytest.mark.parametrize("given", [None, 3, "model.pt", {}, []])
def test_what_is_no_flow_is_refused(given: object) -> None:
    with pytest.raises(InvalidFlow):
        Flow.parse(given)


def test_s24_an_empty_path_says_which_stage_and_what_is_missing(model: Path) -> None:
    with pytest.raises(MissingModelFile, match=r"Stage 2 .TORCH. has an empty path") as caught:
        Flow.parse([stage(model), (ModelType.TORCH, "")])
    assert caught.value.stage == 2
    assert isinstance(caught.value, ValueError)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingModelFile, match=r"no file 'nowhere.pt' .looked in"):
        Flow.parse([(ModelType.TORCH, "nowhere.pt")])


@pytest.mark.parametrize("kind", [k for k, a in ARTIFACTS.items() if a.suffixes])
def test_a_file_of_another_kind_is_refused_naming_the_right_suffixes(
    tmp_path: Path, kind: ModelType
) -> None:
    path = tmp_path / "model.doc"
    path.touch()
    with pytest.raises(MissingModelFile, match=ARTIFACTS[kind].suffixes[0]):
        Flow.parse([(kind, path)])


@pytest.mark.parametrize("source", [None, 3, b"x.pt", object()])
def test_a_source_that_is_no_path_is_refused(source: object) -> None:
    with pytest.raises((InvalidStage, MissingModelFile), match="Stage 1"):
        Flow.parse([(ModelType.TORCH, source)])


def test_a_type_that_is_no_model_type_lists_the_members(model: Path) -> None:
    with pytest.raises(InvalidStage, match=r"model_type\.TORCH"):
        Flow.parse([("torch", model)])


class Doubler:
    def predict(self, value: Any) -> Any:
        return [2 * number for number in value]


class Caller:
    def __call__(self, value: Any) -> Any:
        return value


@pytest.mark.parametrize("model", [lambda value: value, Doubler, Caller, Caller(), len])
def test_a_python_stage_is_a_function_of_one_value_or_a_class(model: Any) -> None:
    (parsed,) = Flow.parse((ModelType.PYTHON, model)).stages
    assert parsed.source is model
    assert parsed.file is None


class NeedsArguments:
    def __init__(self, path: str) -> None: ...
    def predict(self, value: Any) -> Any: ...


class NoPredict:
    pass


@pytest.mark.parametrize("model", [lambda: 0, lambda a, b: 0, NeedsArguments, NoPredict])
def test_a_python_stage_that_cannot_be_called_with_one_value_is_refused(model: Any) -> None:
    with pytest.raises(InvalidSignature) as caught:
        Flow.parse([(ModelType.PYTHON, model)])
    assert caught.value.stage == 1
    assert caught.value.function == "model"


def test_a_python_stage_without_a_callable_is_refused() -> None:
    with pytest.raises(InvalidStage, match="give a function, or a class"):
        Flow.parse([(ModelType.PYTHON, "model.py")])


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def predict(self, value: Any) -> Any:
        return [self.factor * each for each in value]


def test_a_method_of_an_object_is_a_python_stage_and_the_object_itself_hints_at_it() -> None:
    with pytest.raises(InvalidStage, match="is Scaled ") as caught:
        Flow.parse([(ModelType.PYTHON, Scaled(2.0))])
    assert caught.value.hint == "Give the object's method."
    assert Flow.parse([(ModelType.PYTHON, Scaled(2.0).predict)]).stages


def test_a_folder_is_taken_where_the_model_is_one_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").touch()
    (parsed,) = Flow.parse((ModelType.MLFLOW, tmp_path)).stages
    assert parsed.file == tmp_path
    assert parsed.title == tmp_path.name
    with pytest.raises(MissingModelFile, match=r"Stage 1 .MLFLOW.*is not a folder"):
        Flow.parse((ModelType.MLFLOW, tmp_path / "MLmodel"))
    with pytest.raises(MissingModelFile, match=r"Stage 1 .TORCH.*is not a file"):
        Flow.parse((ModelType.TORCH, tmp_path))


def test_a_type_that_a_package_adds_stands_where_a_built_in_one_does(tmp_path: Path) -> None:
    kind = PluginType("lof", suffixes=(".lof",))
    path = tmp_path / "model.lof"
    path.touch()
    (parsed,) = Flow.parse((kind, path)).stages
    assert parsed.model_type is kind
    assert parsed.model_type.name == "LOF"
    other = tmp_path / "model.txt"
    other.touch()
    with pytest.raises(MissingModelFile, match=r"Stage 1 .LOF.*does not end in \.lof"):
        Flow.parse((kind, other))


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        (ModelType.SKLEARN, "net.onnx", "For .onnx files there is ONNX"),
        (ModelType.ONNX, "net.cbm", "For .cbm files there is CATBOOST"),
        (ModelType.SPACY, "en_core_web_sm", 'spacy.load("en_core_web_sm")'),
        (ModelType.MLFLOW, "models:/churn/3", "download it"),
        (ModelType.TORCH, "https://example.org/net.pt", "download it"),
    ],
)
def test_a_model_that_is_meant_otherwise_is_told_how_to_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ModelType, given: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "net.cbm"):
        (tmp_path / name).touch()
    with pytest.raises(MissingModelFile) as caught:
        Flow.parse((kind, given))
    assert says in str(caught.value.hint)


@pytest.mark.parametrize("value", ["torch", "Lof", "l-o-f", "", "a.b"])
def test_a_type_that_a_package_adds_has_a_name_of_its_own(value: str) -> None:
    with pytest.raises(ValueError, match=r"model type"):
        PluginType(value)
