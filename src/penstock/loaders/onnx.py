"""ONNX: a session of onnxruntime, fed by input name, with every output returned.

One output is returned as the array itself, several as a dict by output name. Class maps that
converters add (`zipmap`) stay lists of dicts.
"""

from __future__ import annotations

from typing import Any

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders.base import ModelFile, Takes, TensorSpec, library_text
from penstock.loaders.device import onnx_providers

#: Names of element types in onnxruntime's `tensor(...)` texts and their NumPy names.
_DTYPES: dict[str, str] = {
    "float": "float32",
    "double": "float64",
    "string": "object",
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64", "bool")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
}


class OnnxModel:
    """A session. Takes a dict of arrays by input name; returns an array, or a dict by name."""

    takes: Takes = "feed"
    #: Matrix products add up in another order for another number of rows.
    exact = False
    only_library = True

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = tuple(_spec(item) for item in session.get_inputs())
        self._outputs = [item.name for item in session.get_outputs()]
        shapes = [item.shape for item in (*session.get_inputs(), *session.get_outputs())]
        # Rows can be joined only where every input has a free first axis.
        self.joinable = all(
            spec.shape is not None and len(spec.shape) > 0 and spec.shape[0] is None
            for spec in self.inputs
        ) and all(not shape or not isinstance(shape[0], int) for shape in shapes)

    def predict(self, value: Any) -> Any:
        """Return the only output, or all outputs as a dict by name."""
        outputs = self._session.run(self._outputs, value)
        if len(outputs) == 1:
            return outputs[0]
        return dict(zip(self._outputs, outputs, strict=True))

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is fresh."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, inputs and outputs with dtypes and shapes."""
        return {
            "library": library_text("onnxruntime"),
            "inputs": [spec.facts() for spec in self.inputs],
            "outputs": [
                {"name": item.name, "type": item.type, "shape": list(item.shape or [])}
                for item in self._session.get_outputs()
            ],
        }


def load(file: ModelFile, model_type: ModelType, threads: int) -> OnnxModel:
    """Return a session with `threads` threads inside an operator, on the GPU if it may use one.

    Raises:
        LoadFailed: Not an ONNX model, or one of a newer opset than onnxruntime knows.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(file.path), sess_options=options, providers=onnx_providers()
        )
    except Exception as error:  # onnxruntime's classes are private; all of them mean the file
        raise LoadFailed(
            f"{file.name} cannot be loaded as {model_type.name}: {error}",
            type=type(error).__name__,
            hint="Check it with onnx.checker.check_model, and that its opset is not newer than "
            f"onnxruntime {onnxruntime.__version__} knows.",
        ) from error
    return OnnxModel(session)


def _spec(item: Any) -> TensorSpec:
    kind = str(item.type)
    dtype = _DTYPES.get(kind[len("tensor(") : -1]) if kind.startswith("tensor(") else None
    shape = item.shape
    axes = None if shape is None else tuple(n if isinstance(n, int) else None for n in shape)
    features = axes[1] if axes is not None and len(axes) == 2 else None
    return TensorSpec(item.name, dtype, axes, n_features=features)
