"""ONNX stages in a flow: inputs by name, batches of dicts, several outputs, joined calls."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx

from penstock.core.flow import ModelType as M


@pytest.fixture(scope="module")
def files(tmp_path_factory, models):
    """Model files: `sum` (x + y, and x), `logistic` with class maps."""
    folder = tmp_path_factory.mktemp("onnx")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in "xy")
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in ("s", "d")]
    nodes = [helper.make_node("Add", ["x", "y"], ["s"]), helper.make_node("Sub", ["x", "y"], ["d"])]
    graph = helper.make_graph(nodes, "both", [x, y], outs)
    both = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(both, folder / "both.onnx")
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
