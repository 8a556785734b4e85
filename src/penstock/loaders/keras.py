"""KERAS: `.keras` files, on whichever backend is installed.

Keras loads them in its safe mode, so a file cannot bring code along. `KERAS_BACKEND` names the
backend; without it the first installed of torch, jax and tensorflow is taken. On torch the model is
called in inference mode: `Model.predict` around it takes four times as long for a few rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.loaders.base import ModelFile, Takes, TensorSpec, library_text

_BACKENDS = ("torch", "jax", "tensorflow")

#: Hint by what Keras says when it refuses a file.
_HINTS: dict[str, str] = {
    "lambda": "A Lambda layer is code: write it as a Layer of keras.ops, or convert the model to "
    "ONNX with model.export(path, format='onnx').",
    "Could not locate class": "Classes of your own do not travel in a .keras file: convert the "
    "model to ONNX with model.export(path, format='onnx').",
}


class KerasModel:
    """A model in inference. Takes arrays by input name; returns an array, or a dict by name."""

    takes: Takes = "feed"
    #: Matrix products add up in another order for another number of rows.
    exact = False
    only_library = True

    def __init__(self, model: Any, backend: str) -> None:
        import keras

        self._model = model
        self._backend = backend
        self._tree: Any = keras.tree
        self._struct = getattr(model, "_inputs_struct", None)
        self.inputs = tuple(map(_spec, model.inputs))
        self._single = len(self.inputs) == 1 and not isinstance(self._struct, (dict, list, tuple))
        self._outputs = list(getattr(model, "output_names", ()))
        self._call = _call_of(model, backend)
        tensors = (*model.inputs, *model.outputs)
        self.joinable = all(item.shape and item.shape[0] is None for item in tensors)

    def predict(self, value: Any) -> Any:
        """Return the only output as an array, or all outputs as a dict by name."""
        given = value[self.inputs[0].name] if self._single else self._arranged(value)
        output = self._call(given)
        if isinstance(output, dict):
            return {str(name): _array(part) for name, part in output.items()}
        if isinstance(output, (list, tuple)):
            parts = [_array(part) for part in output]
            return parts[0] if len(parts) == 1 else dict(zip(self._outputs, parts, strict=True))
        return _array(output)

    def _arranged(self, value: dict[str, Any]) -> Any:
        """Return the arrays in the structure that the model was built with."""
        if self._struct is None:
            return [value[spec.name] for spec in self.inputs]
        return self._tree.map_structure(lambda tensor: value[tensor.name], self._struct)

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is fresh."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, backend, parameters and inputs."""
        return {
            "library": library_text("keras"),
            "backend": self._backend,
            "parameters": int(self._model.count_params()),
            "inputs": [spec.facts() for spec in self.inputs],
        }


def load(file: ModelFile, model_type: ModelType, threads: int) -> KerasModel:
    """Return the model in a `.keras` file; sets torch's threads to `threads` on that backend.

    Raises:
        LoadFailed: No backend is installed, or the file holds code or classes of its own.
    """
    _choose_backend()
    import keras

    backend = str(keras.backend.backend())
    if backend == "torch":
        import torch

        torch.set_num_threads(threads)
    try:
        # The stored copy has no suffix, and Keras goes by the suffix.
        model = keras.saving.load_model(_with_suffix(file), compile=False, safe_mode=True)
    except (ValueError, TypeError) as error:
        raise _refused(file, model_type, error) from error
    if not getattr(model, "inputs", None):
        raise LoadFailed(
            f"{file.name} does not say what its inputs are.",
            hint="Build the model, or call it once on data, before you save it.",
        )
    return KerasModel(model, backend)


def _refused(file: ModelFile, model_type: ModelType, error: Exception) -> LoadFailed:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # Keras speaks of the outermost object first; what is wrong with it comes later.
    for line in lines:
        hint = next((hint for words, hint in _HINTS.items() if words in line), None)
        if hint is not None:
            break
    else:
        line, hint = lines[0], 'Save it with model.save("model.keras") of Keras 3.'
    return LoadFailed(
        f"{file.name} cannot be loaded as {model_type.name}: {line[:400]}",
        type=type(error).__name__,
        hint=hint,
    )


def _choose_backend() -> None:
    if os.environ.get("KERAS_BACKEND"):
        return
    found = [name for name in _BACKENDS if find_spec(name) is not None]
    if not found:
        raise LoadFailed(
            "KERAS needs a backend, and none is installed.",
            hint=f"Install one of {', '.join(_BACKENDS)} in the server's environment or add it to "
            "requirements.",
        )
    os.environ["KERAS_BACKEND"] = found[0]


def _with_suffix(file: ModelFile) -> str:
    if file.path.suffix == ".keras":
        return str(file.path)
    import tempfile
    from pathlib import Path

    link = Path(tempfile.mkdtemp(prefix="penstock-keras-")) / "model.keras"
    link.symlink_to(file.path.absolute())
    return str(link)


def _call_of(model: Any, backend: str) -> Callable[[Any], Any]:
    if backend != "torch":
        return model.predict_on_batch  # type: ignore[no-any-return]
    import torch

    def call(value: Any) -> Any:
        with torch.inference_mode():
            return model(value, training=False)

    return call


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(tensor.shape)
    dtype = str(tensor.dtype)
    features = shape[1] if len(shape) == 2 else None
    known = dtype if dtype != "bfloat16" else "float32"
    return TensorSpec(str(tensor.name), known, shape, n_features=features)


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach"):  # what Keras does with a tensor of torch warns with NumPy 2
        value = value.detach().cpu()
        return (value if str(value.dtype) != "torch.bfloat16" else value.float()).numpy()
    import keras

    return keras.ops.convert_to_numpy(value)
