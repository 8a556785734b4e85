"""Joined model calls change nothing, are proven before, and fail only for the culprit."""

from __future__ import annotations

import pickle

import cloudpickle
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator

from penstock.core.flow import ModelType as M


class Counting(BaseEstimator):
    """An estimator that tells how many rows it was called with and misbehaves on demand."""

    calls: list[int] = []

    def __init__(self, mode="rows"):
        self.mode = mode

    def fit(self):
        self.n_features_in_ = 2
        return self

    def predict(self, x):
        type(self).calls.append(len(x))
        if (x < 0).any():
            raise ValueError("negative")
        if self.mode == "mean":
            return x[:, 0] - x[:, 0].mean()
        if self.mode == "one":
            return np.array([x.sum()])
        if self.mode == "later" and len(type(self).calls) > 30:
            return x.sum(axis=1) + len(x)
        return x.sum(axis=1)


@pytest.fixture
def counting(tmp_path):
    Counting.calls = []

    def make(mode="rows"):
        path = tmp_path / f"{mode}.pkl"
        path.write_bytes(pickle.dumps(Counting(mode).fit()))
        return path

    return make


def rows(n, start=0):
    return [[[start + i, 1.0]] for i in range(n)]


def test_waiting_requests_are_joined_once_that_is_proven(worker, counting):
    service = worker([(M.SKLEARN, counting())])
    assert service.batching()[0]["state"] == "unproven"
    assert service.results(*rows(3)) == [[1.0], [2.0], [3.0]]
    assert Counting.calls == [1, 1, 1, 3]
    assert service.batching()[0]["state"] == "on"
    Counting.calls.clear()
    assert service.results(*rows(4, 5)) == [[6.0], [7.0], [8.0], [9.0]]
    assert Counting.calls == [4, 1]  # one joined call, checked once more alone
    service.results(*rows(4))
    Counting.calls.clear()
    service.results(*rows(4))
    assert Counting.calls == [4]


def test_a_lone_request_is_one_call(worker, counting):
    service = worker([(M.SKLEARN, counting())])
    service.results([[1.0, 2.0]])
    assert Counting.calls == [1]
    assert service.batching()[0]["state"] == "unproven"


@pytest.mark.parametrize(("mode", "state"), [("rows", "on"), ("mean", "off")])
def test_equal_requests_are_proven_with_a_variation_of_themselves(worker, counting, mode, state):
    service = worker([(M.SKLEARN, counting(mode))])
    assert service.results([[1.0, 2.0]], [[1.0, 2.0]]) == [[3.0 if mode == "rows" else 0.0]] * 2
    assert service.batching()[0]["state"] == state


def test_rows_without_a_variation_prove_nothing(worker, tmp_path):
    (tmp_path / "e.pkl").write_bytes(cloudpickle.dumps(torch.nn.Embedding(5, 2)))
    pre = {"pre": lambda data: np.asarray(data)}
    service = worker([(M.TORCH, tmp_path / "e.pkl", pre)])
    for _ in range(5):
        service.results([[1, 1]], [[1, 1]])
    assert service.batching()[0]["state"] == "unproven"


@pytest.mark.parametrize(
    ("mode", "reason"), [("mean", "differ"), ("one", "one row per row")], ids=["mean", "one"]
)
def test_a_model_whose_rows_depend_on_each_other_is_never_joined(worker, counting, mode, reason):
    service = worker([(M.SKLEARN, counting(mode))])
    want = [service.results(body)[0] for body in rows(3)]
    for _ in range(3):
        assert service.results(*rows(3)) == want
    assert service.batching()[0]["state"] == "off"
    assert reason in service.batching()[0]["reason"]


def test_rows_that_come_to_differ_turn_joining_off_again(worker, counting):
    service = worker([(M.SKLEARN, counting("later"))])
    for _ in range(40):
        service.results(*rows(3))
    assert service.batching()[0]["state"] == "off"
    assert "came to differ" in service.batching()[0]["reason"]


def test_a_failing_joined_call_is_halved_until_only_the_culprit_fails(worker, counting):
    service = worker([(M.SKLEARN, counting())])
    service.results(*rows(2))
    bodies = rows(8)
    bodies[5] = [[-1.0, 0.0]]
    answers = service.answers(*bodies)
    assert ["error" in a for a in answers] == [i == 5 for i in range(8)]
    assert answers[5]["error"]["code"] == "model_failed"
    assert [a["result"] for i, a in enumerate(answers) if i != 5] == [
        [i + 1.0] for i in range(8) if i != 5
    ]
    assert service.batching()[0]["state"] == "on"


def test_max_batch_bounds_the_rows_of_one_call(worker, counting):
    service = worker([(M.SKLEARN, counting())], max_batch=5)
    service.results(*rows(2))
    service.results(*rows(2))
    service.results(*rows(2))
    service.results(*rows(2))
    Counting.calls.clear()
    bodies = [[[i, 1.0]] * 2 for i in range(5)] + [[[9.0, 1.0]] * 7]
    service.results(*bodies)
    assert sorted(Counting.calls)[-3:] == [4, 4, 7]


def test_max_batch_of_one_turns_joining_off(worker, counting):
    service = worker([(M.SKLEARN, counting())], max_batch=1)
    service.results(*rows(3))
    assert Counting.calls == [1, 1, 1]
    assert service.batching()[0]["reason"] == "max_batch is 1."


def test_values_of_different_kinds_are_answered_together_but_not_joined(worker, models):
    service = worker([(M.TORCH, models.net)])
    both = models.x[:2].tolist()
    for _ in range(3):
        results = service.results(both[:1], both, {"data": [both[1]]})
    assert np.allclose(results[1], models.hidden[:2], rtol=1e-4, atol=1e-6)


def test_joined_answers_are_those_of_each_alone_for_torch_into_xgboost(worker, models):
    flow = [(M.TORCH, models.net), (M.XGBOOST_CLASSIFIER, models.xgb)]
    alone = worker(flow)
    joined = worker(flow)
    bodies = [models.x[i : i + 1 + i % 3].tolist() for i in range(0, 40, 3)]
    want = [alone.results(body)[0] for body in bodies]
    for _ in range(4):
        got = joined.results(*bodies)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert [b["state"] for b in joined.batching()] == ["on", "on"]
    assert joined.batching()[1]["joined_calls"] == 3


def test_a_run_that_fails_in_the_middle_leaves_the_joined_rows_right(worker, models):
    def pre(data):
        if data == [0]:
            raise ValueError("no")
        return models.x[data[0] : data[0] + 1]

    flow = [(M.TORCH, models.net, {"pre": pre}), (M.XGBOOST_CLASSIFIER, models.xgb)]
    service = worker(flow)
    want = {i: service.results([i])[0] for i in range(1, 5)}
    for _ in range(3):
        answers = service.answers([1], [0], [2], [3], [4])
        assert "error" in answers[1]
        for i, a in zip([1, 2, 3, 4], [answers[0], *answers[2:]], strict=True):
            np.testing.assert_allclose(a["result"], want[i], rtol=1e-5)


def test_changing_ones_own_rows_changes_nobody_elses(worker, models):
    def post(result):
        result *= result[0, 0] * 0 + 2
        return result

    service = worker([(M.TORCH, models.net, {"post": post})])
    bodies = [models.x[i : i + 1].tolist() for i in range(4)]
    for _ in range(3):
        got = service.results(*bodies)
    np.testing.assert_allclose(np.concatenate(got), 2 * models.hidden[:4], rtol=1e-4, atol=1e-6)
    assert torch.is_tensor(torch.zeros(1))


class Raising:
    """A comparison that cannot be made."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def comparable(self, output):
        raise ValueError("no form to compare")


@pytest.mark.parametrize("made", [lambda d: d, lambda d: np.array(d)], ids=["list", "array"])
def test_a_check_that_fails_turns_joining_off_and_costs_no_request_its_answer(
    worker, counting, made
):
    service = worker([(M.SKLEARN, counting(), {"pre": made})])
    service.results(*rows(3))
    (stage,) = service.service._flow.stages
    stage.model = Raising(stage.model)
    assert service.results(*rows(3)) == [[1.0], [2.0], [3.0]]
    assert service.batching()[0]["state"] == "off"


@pytest.mark.parametrize("made", [lambda d: d, lambda d: np.array(d)], ids=["list", "array"])
def test_what_cannot_be_compared_is_not_proven(worker, counting, made):
    service = worker([(M.SKLEARN, counting(), {"pre": made})])
    (stage,) = service.service._flow.stages
    stage.model = Raising(stage.model)
    for _ in range(3):
        assert service.results(*rows(3)) == [[1.0], [2.0], [3.0]]
    assert service.batching()[0]["state"] == "off"
