"""ONNX stages in a flow: inputs by name, batches of dicts, several outputs, joined calls."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx

from penstock.core.flow import ModelType as M


@pytest.fixture(scope="module")
def files(tmp_path_factory, models):
    """Model files: `both` (x + y, and x - y), `logistic` with class maps, `twice` (2 x)."""
    folder = tmp_path_factory.mktemp("onnx")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in "xy")
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in ("s", "d")]
    nodes = [helper.make_node("Add", ["x", "y"], ["s"]), helper.make_node("Sub", ["x", "y"], ["d"])]
    graph = helper.make_graph(nodes, "both", [x, y], outs)
    both = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(both, folder / "both.onnx")
    out = helper.make_tensor_value_info("t", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["t"])], "twice", [x], [out])
    twice = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(twice, folder / "twice.onnx")
    logistic = to_onnx(models.own.logistic, models.x[:1].astype(np.float32))
    (folder / "logistic.onnx").write_bytes(logistic.SerializeToString())
    return folder


def test_a_dict_or_a_list_of_dicts_gives_all_outputs_by_name(worker, files):
    service = worker([(M.ONNX, files / "both.onnx")])
    whole = {"x": [[1, 2], [3, 4]], "y": [[1, 1], [1, 1]]}
    want = {"s": [[2, 3], [4, 5]], "d": [[0, 1], [2, 3]]}
    assert service.results(whole) == [want]
    assert service.results([{"x": [1, 2], "y": [1, 1]}, {"x": [3, 4], "y": [1, 1]}]) == [want]


def test_joined_calls_give_each_request_its_own_rows_of_every_output(worker, files):
    service = worker([(M.ONNX, files / "both.onnx")])
    bodies = [{"x": [[i, 2]] * (i + 1), "y": [[1, 1]] * (i + 1)} for i in range(5)]
    for _ in range(3):
        results = service.results(*bodies)
    for i, result in enumerate(results):
        assert result == {"s": [[i + 1, 3]] * (i + 1), "d": [[i - 1, 1]] * (i + 1)}
    assert service.batching()[0]["state"] == "on"


#: Rounds that are answered by joined calls; these are checked at the first, second, fourth, eighth.
ROUNDS = 10


def test_calls_that_send_arrays_are_answered_together(worker, files):
    service = worker([(M.ONNX, files / "twice.onnx")])
    arrays = [np.full((i + 1, 2), i, np.float32) for i in range(4)]
    for _ in range(ROUNDS):
        answers = service.answers(*map(npy, arrays), media_type="application/x-npy")
        assert [a.get("result") for a in answers] == [(2 * a).tolist() for a in arrays]
    assert service.batching()[0]["state"] == "on"
    assert service.batching()[0]["joined_calls"] == ROUNDS - 1


def npy(rows):
    body = io.BytesIO()
    np.save(body, rows)
    return body.getvalue()


def test_arrays_that_a_pre_makes_are_answered_together_by_each_of_two_models(worker, files):
    pre = {"pre": lambda data: np.array(data, np.float32)}
    service = worker([(M.ONNX, files / "twice.onnx", pre), (M.ONNX, files / "twice.onnx")])
    bodies = [[[i, 2 * i]] * (i + 1) for i in range(1, 5)]
    for _ in range(ROUNDS):
        assert service.results(*bodies) == [(4 * np.array(body)).tolist() for body in bodies]
    assert [facts["joined_calls"] for facts in service.batching()] == [ROUNDS - 1] * 2


def test_class_maps_are_answered_and_feed_a_post(worker, files, models):
    rows = models.own.scaler.transform(models.x[:3]).tolist()
    flow = [(M.ONNX, files / "logistic.onnx", lambda out: out["output_label"])]
    assert worker(flow).results(rows) == [models.own.logistic.predict(rows).tolist()]
    (answer,) = worker([(M.ONNX, files / "logistic.onnx")]).results(rows)
    assert set(answer["output_probability"][0]) == {"0", "1", "2"}


def test_an_input_that_is_not_there_is_named(worker, files):
    error = worker([(M.ONNX, files / "both.onnx")]).error({"x": [[1, 2]]})
    assert error["code"] == "input_mismatch"
    assert "without ['y']" in error["message"]
