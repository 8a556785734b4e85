"""Whatever a function does, the worker lives on and the error says what happened where."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from penstock.codec.frames import SHOW_TRACEBACK
from penstock.core.flow import ModelType as M
from penstock.flow.memory import get


def broken(data):
    return helper(data)


def helper(data):
    return np.asarray(data).reshape(7, 7)


def test_the_error_names_the_last_line_of_the_users_own_code(worker, models):
    error = worker([(M.SKLEARN, models.regressor, {"pre": broken})]).error([[1, 2]])
    line = helper.__code__.co_firstlineno + 1
    assert f"test_processing.py, line {line}" in error["message"]
    assert "pre of stage 1 (broken()) raised ValueError: cannot reshape" in error["message"]
    assert "traceback" not in error


def test_the_traceback_begins_in_user_code_and_is_only_for_those_who_may_see_it(worker, models):
    service = worker([(M.SKLEARN, models.regressor, {"pre": lambda data: get("nothing")})])
    text = service.error([[1, 2]], flags=SHOW_TRACEBACK)["traceback"]
    assert "test_processing.py" in text
    assert "penstock/flow" not in text
    assert text.rstrip().endswith("NameError: 'nothing' not found in memory")


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_nothing_a_function_raises_ends_the_worker(worker, models, kind):
    def pre(data):
        if data == "end":
            raise kind
        return data

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre})])
    good, bad, more = service.answers([[1, 2]], {"data": "end"}, [[3, 4]])
    assert bad["error"]["type"] == kind.__name__
    assert good["result"]
    assert more["result"]


def test_an_exit_from_the_process_is_an_error_of_the_function(worker, models):
    error = worker([(M.SKLEARN, models.regressor, lambda _: sys.exit("bye"))]).error([[1, 2]])
    assert (error["type"], error["function"]) == ("SystemExit", "post")


@pytest.mark.filterwarnings("default")
def test_a_warning_does_not_fail_the_run(worker, models):
    def post(result):
        warnings.warn("careful", stacklevel=1)
        return result

    with pytest.warns(UserWarning, match="careful"):
        assert worker([(M.SKLEARN, models.regressor, post)]).results([[1, 2]])


def test_an_exception_whose_text_fails_is_still_reported(worker, models):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    def post(result):
        raise Odd

    assert worker([(M.SKLEARN, models.regressor, post)]).error([[1, 2]])["type"] == "Odd"


def test_a_callable_object_is_a_function_like_any_other(worker, models):
    class Scale:
        def __call__(self, result):
            return result * 0

    assert worker([(M.SKLEARN, models.regressor, Scale())]).results([[1, 2]]) == [[0.0]]


def test_a_model_that_raises_is_named_with_its_own_words(worker, models):
    error = worker([(M.SKLEARN, models.regressor)]).error([[None, 1.0]])
    assert (error["code"], error["stage"]) == ("model_failed", 1)
    assert "Input X contains NaN" in error["message"]
