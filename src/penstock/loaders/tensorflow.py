"""TENSORFLOW: SavedModel folders, called by their serving signature.

TensorFlow itself is large and pins what it needs, so it usually lives in an environment of its own.
The signature is `serving_default`, or the only one there is. One output is returned as the array
itself, several as a dict by output name.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.loaders.base import ModelFile, Takes, TensorSpec, library_text


class SavedModel:
    """A signature. Takes a dict of arrays; returns an array, or a dict by name."""

    takes: Takes = "feed"
    #: Matrix products add up in another order for another number of rows.
    exact = False

    def __init__(self, loaded: Any, signature: str) -> None:
        import tensorflow as tf

        self._loaded = loaded  # the signature holds its variables by weak references only
        self._name = signature
        self._call = loaded.signatures[signature]
        self._constant = tf.constant
        specs = self._call.structured_input_signature[1]
        self.inputs = tuple(_spec(name, spec) for name, spec in specs.items())
        outputs = self._call.structured_outputs.values()
        shapes = [spec.shape for spec in (*specs.values(), *outputs)]
        self.joinable = all(
            shape.rank is None or (shape.rank > 0 and shape[0] is None) for shape in shapes
        )

    def predict(self, value: Any) -> Any:
        """Return the only output, or all outputs as a dict by name."""
        given = {name: self._constant(array) for name, array in value.items()}
        outputs = {name: part.numpy() for name, part in self._call(**given).items()}
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is fresh."""
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, signature and inputs."""
        return {
            "library": library_text("tensorflow"),
            "signature": self._name,
            "inputs": [spec.facts() for spec in self.inputs],
        }


def load(file: ModelFile, _model_type: ModelType, threads: int) -> SavedModel:
    """Return the serving signature of a SavedModel folder, on `threads` threads.

    Raises:
        LoadFailed: Not such a folder, or it has several signatures and none to serve.
    """
    if not (file.path / "saved_model.pb").is_file():
        raise LoadFailed(
            f"The folder {file.name} has no saved_model.pb, so it is no SavedModel.",
            hint="Save it with model.export(folder) of Keras, or tf.saved_model.save(model, "
            "folder).",
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    _limit_threads(tf, threads)
    loaded = tf.saved_model.load(str(file.path))
    names = sorted(loaded.signatures)
    wanted = names[0] if len(names) == 1 else "serving_default"
    if wanted not in names:
        raise LoadFailed(
            f"{file.name} has no signature serving_default; it has {', '.join(names) or 'none'}.",
            hint="Save it with signatures={'serving_default': function}.",
        )
    return SavedModel(loaded, wanted)


def _limit_threads(tf: Any, threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # another model of this process has set them already
        return


def _spec(name: str, spec: Any) -> TensorSpec:
    dtype = np.dtype(spec.dtype.as_numpy_dtype).name
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    features = shape[1] if shape is not None and len(shape) == 2 else None
    return TensorSpec(str(name), dtype, shape, n_features=features)
