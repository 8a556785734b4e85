"""ONNX stages: all outputs by name, declared inputs, clear errors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType


def save(graph, path):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def test_one_output_is_the_array_itself(tmp_path, load):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    )
    loaded = load(save(graph, tmp_path / "m.onnx"), ModelType.ONNX)
    got = loaded.predict({"x": np.ones((3, 2), np.float32)})
    assert np.array_equal(got, np.full((3, 2), 2, np.float32))
    assert loaded.inputs[0].shape == (None, 2)
    assert loaded.joinable


def test_a_fixed_first_axis_is_never_joined(tmp_path, load):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
    )
    assert not load(save(graph, tmp_path / "m.onnx"), ModelType.ONNX).joinable


def test_several_outputs_are_a_dict_by_name_with_class_maps(wine, tmp_path, load):
    x, y = wine
    model = LogisticRegression(max_iter=2000).fit(x[:, :3], y)
    converted = to_onnx(model, x[:1, :3].astype(np.float32))
    (tmp_path / "m.onnx").write_bytes(converted.SerializeToString())
    loaded = load(tmp_path / "m.onnx", ModelType.ONNX)
    got = loaded.predict({loaded.inputs[0].name: x[:4, :3].astype(np.float32)})
    assert got["output_label"].tolist() == model.predict(x[:4, :3]).tolist()
    assert [max(row, key=row.get) for row in got["output_probability"]] == got[
        "output_label"
    ].tolist()


def test_a_file_that_is_no_model_is_refused(tmp_path, load):
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    with pytest.raises(LoadFailed, match="cannot be loaded as ONNX"):
        load(tmp_path / "m.onnx", ModelType.ONNX)
