"""KERAS: inputs and outputs by name, and files that bring code along are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock import Conduit, PenstockError, model_type
from penstock.core.errors import LoadFailed

os.environ.setdefault("KERAS_BACKEND", "torch")

#: Keras and torch warn of each other's arrays when `Model.predict` is called.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def keras() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    return keras


def run(path: Path, data: Any) -> Any:
    return Conduit("here", None, [(model_type.KERAS, path)]).run(data)


@pytest.mark.parametrize("shape", ["dict", "list"])
def test_inputs_and_outputs_go_by_name(keras: Any, shape: str, tmp_path: Path) -> None:
    layers = keras.layers
    numbers, words = keras.Input((4,), name="numbers"), keras.Input((2,), dtype="int32", name="ids")
    joined = layers.Concatenate()([numbers, layers.Flatten()(layers.Embedding(9, 3)(words))])
    score, kind = layers.Dense(1, name="score")(joined), layers.Dense(2, name="kind")(joined)
    inputs: Any = {"numbers": numbers, "ids": words}
    outputs: Any = {"score": score, "kind": kind}
    if shape == "list":
        inputs, outputs = list(inputs.values()), list(outputs.values())
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    rows = {"numbers": [[1.0, 2.0, 3.0, 4.0]] * 2, "ids": [[0, 1], [7, 8]]}
    answer = run(tmp_path / "model.keras", rows)
    given: Any = {name: np.array(value) for name, value in rows.items()}
    own = model.predict(given if shape == "dict" else list(given.values()), verbose=0)
    own = own if shape == "dict" else dict(zip(["score", "kind"], own, strict=True))
    assert sorted(answer) == sorted(own)
    for name, value in own.items():
        np.testing.assert_allclose(answer[name], value, rtol=1e-5)
    with pytest.raises(PenstockError, match="without \\['ids'\\]"):
        run(tmp_path / "model.keras", {"numbers": rows["numbers"]})


def test_layers_that_behave_otherwise_while_training_are_in_inference(
    keras: Any, tmp_path: Path
) -> None:
    model = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.9)]
    )
    model.save(tmp_path / "model.keras")
    first = run(tmp_path / "model.keras", [[1.0, 2.0, 3.0]])
    assert first == run(tmp_path / "model.keras", [[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(first, model.predict(np.array([[1.0, 2.0, 3.0]]), verbose=0))


def test_a_lambda_layer_is_code_and_refused(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(LoadFailed, match=r"model\.keras cannot be loaded as KERAS") as caught:
        Conduit("here", None, [(model_type.KERAS, tmp_path / "model.keras")]).load()
    assert "Lambda" in (caught.value.hint or "")


def test_a_class_of_ones_own_is_refused_with_what_to_do(keras: Any, tmp_path: Path) -> None:
    class Doubling(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    model = keras.Sequential([keras.layers.Input((3,)), Doubling()])
    model.save(tmp_path / "model.keras")
    with pytest.raises(LoadFailed, match="Doubling") as caught:
        Conduit("here", None, [(model_type.KERAS, tmp_path / "model.keras")]).load()
    assert "ONNX" in (caught.value.hint or "")


def test_what_is_no_file_of_keras_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"nothing")
    with pytest.raises(LoadFailed, match=r"model\.keras cannot be loaded as KERAS"):
        Conduit("here", None, [(model_type.KERAS, tmp_path / "model.keras")]).load()
