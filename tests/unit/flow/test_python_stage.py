"""A stage that is the user's own function or class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock import get, save
from penstock.core.errors import FunctionFailed, LoadFailed, ReturnedNone
from penstock.core.flow import Flow, ModelType
from penstock.flow.local import LocalFlow


def local(*stages: Any) -> LocalFlow:
    return LocalFlow(Flow.parse([(ModelType.PYTHON, *stage) for stage in stages]))


class Table:
    made = 0

    def setup(self) -> None:
        type(self).made += 1
        self.words = {"a": 1, "b": 2}

    def predict(self, value: list[str]) -> list[int]:
        return [self.words[word] for word in value]


def test_a_function_gets_the_data_and_its_result_is_the_answer() -> None:
    assert local((lambda value: {"n": len(value)},)).run([1, 2, 3]) == {"n": 3}


def test_a_class_is_set_up_once_and_predicts_for_each_run() -> None:
    flow = local((Table,))
    assert [flow.run(["a"]), flow.run(["b", "a"])] == [[1], [2, 1]]
    assert Table.made == 1


def test_functions_surround_it_and_memory_is_there() -> None:
    def pre(data: Any) -> Any:
        save("before", data)
        return [number + 1 for number in data]

    def model(value: Any) -> Any:
        return [*value, *get("before")]

    flow = local((model, {"pre": pre, "post": lambda result: result[::-1]}))
    assert flow.run([1, 2]) == [2, 1, 3, 2]


def test_an_exception_in_it_is_shown_with_the_users_line() -> None:
    def model(value: Any) -> Any:
        return value["nothing"]

    with pytest.raises(FunctionFailed, match=r"model of stage 2 .*KeyError.*test_python_stage"):
        local((lambda value: {},), (model,)).run([1])


def test_it_must_return_something() -> None:
    with pytest.raises(ReturnedNone, match="model of stage 1"):
        local((lambda value: None,)).run([1])


class Broken:
    def setup(self) -> None:
        raise OSError("no such table")

    def predict(self, value: Any) -> Any: ...


def test_a_setup_that_fails_says_so_when_it_is_loaded() -> None:
    with pytest.raises(LoadFailed, match=r"Stage 1 .PYTHON.: Broken.setup\(\) raised OSError"):
        local((Broken,))


@pytest.mark.parametrize("taker", ["its model", "its pre"])
def test_it_may_change_the_output_of_the_model_before_it_in_place(models: Any, taker: str) -> None:
    def model(value: Any) -> Any:
        value += 1
        return value

    last = (model,) if taker == "its model" else (lambda value: value, {"pre": model})
    flow = [(ModelType.TORCH, models.net), (ModelType.PYTHON, *last)]
    answer = LocalFlow(Flow.parse(flow)).run(models.x[:2].tolist())
    np.testing.assert_allclose(answer, models.hidden[:2] + 1, rtol=1e-4)
