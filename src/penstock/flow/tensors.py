"""Converts the value that reaches a TORCH stage to one tensor.

Floating point values get the dtype of the model's parameters. Numbers in lists become floating
point as well; integer arrays and tensors keep their dtype when they have 32 or 64 bits, because
then they are indices, as an embedding takes. Smaller integers, such as pixels, become floating
point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.flow.arrays import Array, to_array
from penstock.flow.mismatch import Taker, describe, find_text
from penstock.loaders.base import Model

_EXPECTED = "numbers (a list, array or tensor)"


class TensorConverter:
    """Makes one tensor out of a list, an array, a tensor, or a list of arrays or tensors."""

    def __init__(self, model: Model, taker: Taker) -> None:
        import torch

        self._torch: Any = torch
        self._tensor: Any = torch.Tensor
        self._from_numpy: Any = torch.from_numpy
        self._dtype: Any = getattr(model, "float_dtype", torch.float32)
        self._numpy_dtype: Any = np.dtype(np.float32)
        if self._dtype is torch.float64:
            self._numpy_dtype = np.dtype(np.float64)
        self._plain = self._dtype in {torch.float32, torch.float64}
        self._taker = taker
        #: Only programs of `torch.export` declare a shape.
        self._shape = model.inputs[0].shape

    def __call__(self, value: Any) -> Any:
        """Return `value` as a tensor.

        Raises:
            InputMismatch, StageMismatch: It holds text, uneven rows, or is no array.
        """
        if type(value) is np.ndarray:
            if value.dtype == self._numpy_dtype and value.flags.writeable and self._plain:
                tensor = self._wrap(value)
            else:
                tensor = self._from_array(value, indices=True)
        elif isinstance(value, self._tensor):
            tensor = self._from_tensor(value)
        else:
            return self._fitting(self._from_other(value))
        return self._fitting(self._lift(tensor) if self._taker.origin.is_request else tensor)

    def _fitting(self, tensor: Any) -> Any:
        want = self._shape
        if want is None:
            return tensor
        got = tuple(tensor.shape)
        if len(got) != len(want) or any(
            w is not None and w != g for w, g in zip(want, got, strict=True)
        ):
            axes = ", ".join("any" if axis is None else str(axis) for axis in want)
            raise self._taker.refuse(f"a tensor of shape ({axes})", describe(tensor))
        return tensor

    def _wrap(self, array: Array) -> Any:
        try:
            return self._from_numpy(array)
        except ValueError:  # negative strides
            return self._from_numpy(array.copy())

    def _from_array(self, array: Array, *, indices: bool) -> Any:
        kind = array.dtype.kind
        if kind not in "fiub":
            array = to_array(array, self._taker, _EXPECTED)
            kind = array.dtype.kind
        if kind not in "fiub":
            raise self._taker.refuse(_EXPECTED, find_text(array.tolist()) or describe(array))
        if kind == "i" and indices and array.dtype.itemsize >= 4:
            return self._wrap(array if array.flags.writeable else array.copy())
        tensor = self._wrap(np.array(array, dtype=self._numpy_dtype))
        return tensor if self._plain else tensor.to(self._dtype)

    def _from_tensor(self, tensor: Any) -> Any:
        dtype = tensor.dtype
        if dtype is self._dtype:
            return tensor
        small = dtype in {self._torch.uint8, self._torch.int8, self._torch.int16, self._torch.bool}
        return tensor.to(self._dtype) if dtype.is_floating_point or small else tensor

    def _from_other(self, value: Any) -> Any:
        if isinstance(value, (dict, str, bytes)) or value is None:
            raise self._taker.refuse(_EXPECTED, describe(value))
        listed = isinstance(value, (list, tuple))
        if listed and value and all(isinstance(item, self._tensor) for item in value):
            return self._stack(value)
        made = to_array(value, self._taker, _EXPECTED)
        indices = listed and len(value) > 0 and isinstance(value[0], np.ndarray)
        return self._lift(self._from_array(made, indices=indices))

    def _stack(self, tensors: Any) -> Any:
        try:
            return self._from_tensor(self._torch.stack(tuple(tensors)))
        except RuntimeError:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            got = f"a list of tensors of different shapes: {shapes[:5]}"
            raise self._taker.refuse("tensors of one shape", got) from None

    def _lift(self, tensor: Any) -> Any:
        while tensor.dim() < 2:
            tensor = tensor.unsqueeze(0)
        return tensor
