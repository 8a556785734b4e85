"""Only functions that cannot touch files or memory are left unwatched; any doubt means watched."""

from __future__ import annotations

import builtins
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from penstock import get, save
from penstock.core.flow import ModelType as M
from penstock.flow.harmless import is_harmless

MEAN = np.linspace(0, 1, 4)
NAMES = ["cat", "dog"]
LATER: dict[str, object] = {}
HOLDS_OPEN = {"f": open}
OBJECTS = np.array([Path], dtype=object)


def scaled(rows):
    return (np.asarray(rows, dtype=np.float32) - MEAN) / max(1.0, math.sqrt(2))


def with_helper(rows):
    if not rows:
        raise ValueError("no rows")
    return [NAMES[i] for i in scaled(rows).argmax(axis=1).tolist()]


def again(n):
    return 1 if n < 2 else n * again(n - 1)


def writes(rows):
    Path("a").write_text("x")
    return rows


HARMLESS = [
    scaled,
    with_helper,
    again,
    lambda data: data,
    lambda data: sorted(dict(zip(NAMES, data, strict=False)).items()),
    lambda t: torch.softmax(t, 1).numpy().tolist(),
    lambda x, names=("a", "b"): {n: float(v) for n, v in zip(names, x, strict=True)},
]

WATCHED = [
    writes,
    lambda d: writes(d),
    lambda d: [writes(x) for x in d],
    lambda d, f=writes: f(d),
    lambda d: open("a", "w"),  # noqa: SIM115
    lambda d: builtins.open("a", "w"),  # noqa: SIM115
    lambda d: __import__("os"),
    lambda d: getattr(np, "save")("a", d),  # noqa: B009
    lambda d: np.save("a", d),
    lambda d: np.asarray(d).tofile("a"),
    lambda d: np.memmap("a", mode="w+", shape=(1,)),
    lambda d: HOLDS_OPEN["f"]("a", "w"),
    lambda d: LATER["f"](d),
    lambda d: OBJECTS[0]("a"),
    lambda d: save("a", d),
    lambda d: get("a"),
    lambda d: os.getcwd(),
    lambda d: torch.save(d, "a"),
    lambda d: [exec(x) for x in d],
    lambda d: d.__class__.__base__.__subclasses__(),
    lambda d: print(d),
    partial(writes),
    Path,
]


@pytest.mark.parametrize("function", HARMLESS)
def test_a_function_that_only_computes_is_proven(function):
    assert is_harmless(function)


@pytest.mark.parametrize("function", WATCHED)
def test_a_function_that_might_do_more_is_not(function):
    assert not is_harmless(function)


def test_imports_inside_and_assignments_outside_are_looked_at():
    def imports_numpy(d):
        import numpy

        return numpy.asarray(d)

    def imports_os(d):
        import os

        return os.getcwd()

    def rebinds(d):
        global NAMES
        NAMES = d
        return d

    def matches(d):
        match d:
            case np.ndarray(tofile=f):
                return f("a")
        return d

    async def waits(d):
        return d

    assert is_harmless(imports_numpy)
    for function in (imports_os, rebinds, matches, waits):
        assert not is_harmless(function)


def test_one_function_that_is_not_proven_keeps_all_of_a_flow_watched(worker, models):
    def flow_of(pre):
        flow = [(M.SKLEARN, models.regressor, {"pre": pre, "post": lambda r: r.tolist()})]
        return worker(flow).service._flow

    def watched(flow):
        return [f.is_watched for stage in flow.stages for f in stage.functions()]

    assert watched(flow_of(lambda d: d)) == [False, False]
    assert watched(flow_of(writes)) == [True, True]
    assert watched(flow_of(lambda d, files: d)) == [True, True]


def test_proven_and_watched_functions_answer_alike(worker, models):
    def quiet(data):
        return np.asarray(data)[:, :2]

    def watched(data):
        os.getcwd()
        return np.asarray(data)[:, :2]

    bodies = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9]], [], [["x", 1, 1]], {"a": 1}]
    answers = []
    for pre in (quiet, watched):
        service = worker([(M.SKLEARN, models.regressor, {"pre": pre})])
        for _ in range(3):
            found = service.answers(*bodies)
        answers.append(
            [a.get("result") or {k: v for k, v in a["error"].items() if k == "type"} for a in found]
        )
    assert answers[0] == answers[1]
