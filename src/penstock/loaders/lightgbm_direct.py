"""One call of LightGBM's C function, with all that does not change prepared once.

Used by `penstock.loaders.lightgbm`. The function is `LGBM_BoosterPredictForMat` of LightGBM's
documented C interface; the Python call around it takes ten times as long as walking the trees.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT64 = 1
_ROW_MAJOR = 1
_NORMAL = 0


class DirectCall:
    """Predictions for float64 tables. Not for two threads at once.

    Args:
        booster: A loaded `lightgbm.Booster`.
        iterations: Trees to use for each output; -1 for all.
        threads: Threads of one call.

    Raises:
        AttributeError: This release of lightgbm has other internals.
    """

    def __init__(self, booster: Any, iterations: int, threads: int) -> None:
        from lightgbm import basic

        library = basic._LIB  # noqa: SLF001 - the point of this module; proven while loading
        self._function: Any = library.LGBM_BoosterPredictForMat
        self._failure: Any = library.LGBM_GetLastError
        self._error: Any = basic.LightGBMError
        self._booster = booster
        self._handle: Any = booster._handle  # noqa: SLF001
        self._outputs = int(booster.num_model_per_iteration())
        self._iterations = ctypes.c_int(iterations)
        self._parameters = ctypes.c_char_p(f"num_threads={threads}".encode("ascii"))
        self._length = ctypes.c_int64()
        self._length_reference = ctypes.byref(self._length)
        self._failure.restype = ctypes.c_char_p

    def __call__(self, table: NDArray[Any]) -> NDArray[np.float64]:
        """Return the predictions for a two-dimensional table: (rows,) or (rows, outputs)."""
        held = np.ascontiguousarray(table, np.float64)
        rows, columns = held.shape
        out = np.empty(rows * self._outputs, np.float64)
        code = self._function(
            self._handle,
            ctypes.c_void_p(held.ctypes.data),
            _FLOAT64,
            rows,
            columns,
            _ROW_MAJOR,
            _NORMAL,
            0,
            self._iterations,
            self._parameters,
            self._length_reference,
            ctypes.c_void_p(out.ctypes.data),
        )
        if code:
            raise self._error(self._failure().decode("utf-8", "replace"))
        return out if self._outputs == 1 else out.reshape(rows, self._outputs)
