"""Calls that meet at a model get their own rows of its output, whatever takes it from there."""

from __future__ import annotations

import asyncio
import io
import threading
import time

import numpy as np
import pytest
from overlapping import LIMIT_S

from penstock import parallel, switch
from penstock.core.flow import ModelType as M

CALLS = 8
#: Joined calls until the short way was taken, and checked, several times.
ENOUGH = 9


def shown(value):
    """What user code sees, in plain values."""
    return np.asarray(value, dtype=float).tolist()


async def shown_later(value):
    await asyncio.sleep(0)
    return shown(value)


def choose(value):
    return "few" if float(value[0, 0]) < 13 else "many"


PLAIN, ASYNC = (M.PYTHON, shown), (M.PYTHON, shown_later)

#: Flows by what takes a model's output; `first` is the functions of the first stage.
FLOWS = {
    "plain": lambda m, first: [(M.SKLEARN_PREPROCESSOR, m.scaler, first), PLAIN],
    "async": lambda m, first: [(M.SKLEARN_PREPROCESSOR, m.scaler, first), ASYNC],
    "plain of a tensor": lambda m, first: [(M.TORCH, m.net, first), PLAIN],
    "async of a tensor": lambda m, first: [(M.TORCH, m.net, first), ASYNC],
    "async after two models": lambda m, first: [
        (M.TORCH, m.net, first), (M.XGBOOST_CLASSIFIER, m.xgb), ASYNC
    ],
    "async after plain": lambda m, first: [
        (M.SKLEARN_PREPROCESSOR, m.scaler, first), PLAIN, ASYNC
    ],
    "model after async": lambda m, first: [
        (M.SKLEARN_PREPROCESSOR, m.scaler, first), ASYNC, (M.SKLEARN_CLASSIFIER, m.logistic)
    ],
    "branches": lambda m, first: [
        (M.SKLEARN_PREPROCESSOR, m.scaler, first), parallel([PLAIN, ASYNC, []])
    ],
    "branches with models": lambda m, first: [
        (M.SKLEARN_PREPROCESSOR, m.scaler, first),
        parallel([[(M.SKLEARN_CLASSIFIER, m.logistic), kind] for kind in (PLAIN, ASYNC)]),
    ],
    "plain branches with models": lambda m, first: [
        (M.SKLEARN_PREPROCESSOR, m.scaler, first),
        parallel([[(M.SKLEARN_CLASSIFIER, m.logistic), PLAIN], []]),
    ],
    "async after branches": lambda m, first: [
        (parallel([(M.SKLEARN_PREPROCESSOR, m.scaler), []], "mean"), first), ASYNC
    ],
    "chosen branch": lambda m, first: [
        (
            switch(
                choose,
                {
                    "few": [(M.SKLEARN_PREPROCESSOR, m.scaler), ASYNC],
                    "many": [(M.XGBOOST_CLASSIFIER, m.wine_xgb), PLAIN],
                },
            ),
            first,
        )
    ],
}  # fmt: skip


def wanted(name, models, rows):
    """The answer to one request, computed with the libraries alone."""
    own = models.own
    scaled = own.scaler.transform(rows)
    if "tensor" in name:
        return models.hidden[rows[0, 0] == models.x[:, 0]][:1]
    if "two models" in name:
        return own.xgb.predict_proba(models.hidden[rows[0, 0] == models.x[:, 0]][:1])
    if name == "model after async":
        return own.logistic.predict_proba(scaled)
    if name == "branches":
        return [scaled] * 3
    if name == "branches with models":
        return [own.logistic.predict_proba(scaled)] * 2
    if name == "plain branches with models":
        return [own.logistic.predict_proba(scaled), scaled]
    if name == "async after branches":
        return (scaled + rows) / 2
    if name == "chosen branch":
        return scaled if choose(rows) == "few" else own.wine_xgb.predict_proba(rows)
    return scaled


def requests(models):
    """One row for each call, no first column twice."""
    _, first = np.unique(models.x[:, 0], return_index=True)
    return [models.x[i : i + 1] for i in first[:: len(first) // CALLS][:CALLS]]


def agree(got, want):
    if isinstance(want, list):
        for one, other in zip(got, want, strict=True):
            agree(one, other)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def until_joined(served, name, ask, sent, models):
    """Have calls meet again and again until their model calls were joined often enough."""
    until = time.monotonic() + LIMIT_S
    answers = [wanted(name, models, rows) for rows in sent]
    while served.joined_calls() < ENOUGH:
        assert time.monotonic() < until, "the calls were not joined"
        for got, want in zip(ask(), answers, strict=True):
            agree(got, want)


@pytest.mark.parametrize("name", FLOWS)
def test_overlapping_calls_that_meet_at_a_model_get_their_own_rows(overlap_worker, models, name):
    barrier = threading.Barrier(CALLS)

    def pre(data):
        barrier.wait(LIMIT_S)
        return np.array(data)

    sent = requests(models)
    served = overlap_worker(FLOWS[name](models, {"pre": pre}), concurrency=CALLS)
    bodies = [rows.tolist() for rows in sent]
    until_joined(served, name, lambda: served.results(*bodies), sent, models)


@pytest.mark.parametrize("name", ["async", "async of a tensor", "async after two models"])
def test_overlapping_calls_that_send_arrays_get_their_own_rows(overlap_worker, models, name):
    sent = requests(models)
    served = overlap_worker(FLOWS[name](models, {}), concurrency=CALLS)
    bodies = [npy(rows) for rows in sent]
    media = {"media_type": "application/x-npy"}
    until_joined(served, name, lambda: served.results(*bodies, **media), sent, models)


def npy(rows):
    body = io.BytesIO()
    np.save(body, rows)
    return body.getvalue()


@pytest.mark.parametrize("name", FLOWS)
def test_calls_that_are_answered_together_get_their_own_rows(worker, models, name):
    sent = requests(models)
    served = worker(FLOWS[name](models, {"pre": lambda data: np.array(data)}))
    answers = [wanted(name, models, rows) for rows in sent]
    for _ in range(ENOUGH):
        for got, want in zip(served.results(*(r.tolist() for r in sent)), answers, strict=True):
            agree(got, want)
