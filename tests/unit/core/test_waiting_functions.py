"""Which functions wait, and which asynchronous forms are refused when the flow is built."""

from __future__ import annotations

from functools import partial

import pytest

from penstock.core.errors import InvalidSignature
from penstock.core.flow import Flow, ModelType
from penstock.core.signatures import waits


async def fetch(data):
    return data


async def stream(data):
    yield data


def plain(data):
    return data


class Caller:
    async def __call__(self, data):
        return data

    async def method(self, data):
        return data


class Remote:
    async def predict(self, value):
        return value


class RemoteCall:
    async def __call__(self, value):
        return value


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (fetch, True),
        (partial(fetch), True),
        (Caller(), True),
        (Caller().method, True),
        (plain, False),
        (Caller, False),
        (lambda data: data, False),
        (None, False),
    ],
)
def test_a_function_that_is_async_waits(function, expected):
    assert waits(function) is expected


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ((ModelType.PYTHON, plain), False),
        ((ModelType.PYTHON, plain, {"pre": plain}), False),
        ((ModelType.PYTHON, plain, {"pre": fetch}), True),
        ((ModelType.PYTHON, plain, {"post": fetch}), True),
        ((ModelType.PYTHON, fetch), True),
        ((ModelType.PYTHON, Remote), True),
        ((ModelType.PYTHON, RemoteCall), True),
    ],
)
def test_a_flow_waits_if_any_of_its_functions_does(stage, expected):
    assert Flow.parse([stage]).waits is expected


@pytest.mark.parametrize("functions", [{"pre": stream}, {"post": stream}])
def test_an_async_generator_is_refused_with_what_to_write_instead(functions):
    with pytest.raises(InvalidSignature, match=r"async generator.*return one value"):
        Flow.parse([(ModelType.PYTHON, plain, functions)])


def test_an_async_generator_as_a_model_is_refused():
    with pytest.raises(InvalidSignature, match="async generator"):
        Flow.parse([(ModelType.PYTHON, stream)])


def test_a_setup_that_is_async_is_refused():
    class Model:
        async def setup(self):
            pass

        async def predict(self, value):
            return value

    with pytest.raises(InvalidSignature, match="setup of the class Model of stage 1 is async def"):
        Flow.parse([(ModelType.PYTHON, Model)])
