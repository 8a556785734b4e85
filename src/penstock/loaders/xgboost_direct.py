"""One call of XGBoost's C function, with all that does not change prepared once.

Used by `penstock.loaders.xgboost`. Rows are copied into a buffer that stays where it is, so the
JSON text by which XGBoost is told about an array is written once per row count and reused.
"""

from __future__ import annotations

import ctypes
import json
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BUFFER_ROWS = 256
_BUFFER_BYTES = 4 * 1024 * 1024

#: Answers of up to so many numbers are read through a type of their own, which is kept.
_KEPT_KINDS = 1024


class DirectCall:
    """`XGBoosterPredictFromDense` on float32 tables. Not for two threads at once.

    Raises:
        AttributeError, KeyError: This release of xgboost has other internals.
    """

    def __init__(
        self,
        booster: Any,
        features: int,
        margin: bool,
        iterations: tuple[int, int],
        missing: float,
    ) -> None:
        from xgboost import core

        library = core._LIB  # noqa: SLF001 - the point of this module; proven while loading
        self._function: Any = library.XGBoosterPredictFromDense
        self._failure: Any = library.XGBGetLastError
        self._error: Any = core.XGBoostError
        self._booster = booster
        self._handle: Any = booster.handle
        self._config = core.make_jcargs(
            type=1 if margin else 0,
            training=False,
            iteration_begin=iterations[0],
            iteration_end=iterations[1],
            missing=missing,
            strict_shape=False,
            cache_id=0,
        )
        rows = max(1, min(_BUFFER_ROWS, _BUFFER_BYTES // (4 * max(1, features))))
        self._buffer = np.zeros((rows, features), np.float32)
        self._views: dict[int, tuple[NDArray[np.float32], bytes]] = {}
        self._kinds: dict[int, Any] = {}
        self._proxy = _make_proxy(library)
        self._shape = ctypes.POINTER(ctypes.c_uint64)()
        self._dims = ctypes.c_uint64()
        self._output = ctypes.c_void_p()
        self._references = tuple(map(ctypes.byref, (self._shape, self._dims, self._output)))

    def __call__(self, table: NDArray[Any]) -> NDArray[np.float32]:
        """Return the predictions for a two-dimensional table: (rows,) or (rows, outputs)."""
        rows = len(table)
        view = self._views.get(rows)
        if view is None:
            view = self._view(rows)
        held, interface = view
        np.copyto(held, table, casting="unsafe")
        code = self._function(self._handle, interface, self._config, self._proxy, *self._references)
        if code:
            raise self._error(self._failure().decode("utf-8", "replace"))
        return self._answer()

    def _view(self, rows: int) -> tuple[NDArray[np.float32], bytes]:
        if rows > len(self._buffer):
            held = np.empty((rows, self._buffer.shape[1]), np.float32)
            return held, _interface(held)
        held = self._buffer[:rows]
        self._views[rows] = view = (held, _interface(held))
        return view

    def _answer(self) -> NDArray[np.float32]:
        dims = self._dims.value
        shape = tuple(self._shape[:dims])
        count = prod(shape)
        if not count:
            return np.empty(shape, np.float32)
        # The memory belongs to the booster until its next call: take a copy that may be changed.
        out = np.frombuffer(self._held(count), np.float32).copy()
        return out if dims == 1 else out.reshape(shape)

    def _held(self, count: int) -> Any:
        address = self._output.value or 0
        if count > _KEPT_KINDS:
            return ctypes.string_at(address, 4 * count)
        kind = self._kinds.get(count)
        if kind is None:
            kind = self._kinds[count] = ctypes.c_float * count
        return kind.from_address(address)


def _make_proxy(library: Any) -> Any:
    """Return the handle XGBoost puts each table into. Without one it makes one for every call.

    That takes longer than walking fifty trees. It lives as long as the process, as models do.
    """
    handle = ctypes.c_void_p()
    if library.XGProxyDMatrixCreate(ctypes.byref(handle)):
        return ctypes.c_void_p()
    return handle


def _interface(array: NDArray[np.float32]) -> bytes:
    return json.dumps(array.__array_interface__).encode()
