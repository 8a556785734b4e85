"""Proves of a function, without running it, that it touches no files and asks who its run is.

`penstock.flow.loaded` asks once per flow. Where all functions of a flow are proven, nothing needs
to be watched between calls: no file can appear in the working directory, and no run's memory can
be read or written. Most functions that only compute with NumPy are proven; any doubt means no.

The proof reads bytecode. It admits only: globals and closures that hold plain values, arrays,
admitted modules and functions proven in turn; attributes and modules from the lists below, which
on plain values, arrays and tensors only compute; no assignment to globals or attributes.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

_MODULES = frozenset(
    {"numpy", "numpy.linalg", "math", "statistics", "torch", "torch.nn.functional"}
)

_BUILTIN_NAMES = """
    abs all any bool chr complex dict divmod enumerate filter float frozenset int isinstance
    iter len list map max min next ord pow range reversed round set slice sorted str sum tuple
    zip True False None ArithmeticError AssertionError Exception IndexError KeyError LookupError
    OverflowError RuntimeError StopIteration TypeError ValueError ZeroDivisionError
"""
_BUILTINS = frozenset(_BUILTIN_NAMES.split())

#: Attributes of plain values, arrays, tensors and the modules above. None of them opens a file,
#: calls what is not proven, or hands out an object that could; so `dump`, `tofile`, `save`,
#: `load`, `memmap`, `open`, `path`, and anything with an underscore are not here.
_ATTRIBUTE_NAMES = """
    abs absolute add all amax amin angle any append arange arccos arcsin arctan arctan2 argmax
    argmin argpartition argsort argwhere array array_equal array_split as_tensor asarray
    ascontiguousarray astype atleast_1d atleast_2d atleast_3d average bfloat16 bincount bool
    bool_ broadcast_to byte capitalize cat ceil chunk clamp clip column_stack concat concatenate
    contiguous copy copysign cos cosh count count_nonzero cov cpu cross cumprod cumsum degrees
    detach diag diff digitize dim divide dot double dsplit dstack dtype e einsum empty
    empty_like endswith equal erf exp exp2 expand expand_dims expm1 extend extract eye fabs fill
    find finfo flat flatnonzero flatten flip float float16 float32 float64 floating floor fmax
    fmin fmod format functional from_numpy frombuffer fsum full full_like gamma gather get greater
    greater_equal half histogram hstack hypot identity inf inner insert int int16 int32 int64
    int8 integer interp isclose isdigit isfinite isin isinf isnan isnumeric item items itemsize
    join keys lerp less less_equal lgamma linalg linspace log log10 log1p log2 log_softmax
    logical_and logical_not logical_or logical_xor logsumexp lower lstrip masked_fill matmul max
    maximum mean median meshgrid min minimum mod moveaxis multiply nan nan_to_num nanargmax
    nanargmin nanmax nanmean nanmedian nanmin nanstd nansum nbytes ndarray ndim negative newaxis
    nn no_grad nonzero norm normalize not_equal number numel numpy ones ones_like outer partition
    pdf percentile permute pi pop power prod ptp quantile radians ravel reciprocal relu
    remainder repeat replace reshape reverse rint roll round rpartition rsplit rstrip
    searchsorted select setdefault shape sigmoid sign sin sinh size softmax sort split
    splitlines sqrt square squeeze stack startswith std strip subtract sum swapaxes T take
    take_along_axis tan tanh tensor tile title to_list tobytes tolist topk trace transpose tril
    triu true_divide trunc type_as uint16 uint32 uint64 uint8 union1d unique unsqueeze update
    upper values var vdot view vsplit vstack where zeros zeros_like zfill
"""
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())

_GLOBAL_READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_ATTRIBUTE_READS = frozenset({"LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"})
_BY_NAME = frozenset(dis.hasname)
_UNUSUAL_FLAGS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

#: A captured list or dict with more entries is not looked through.
_MOST_ENTRIES = 10_000

_SCALARS = frozenset({bool, int, float, complex, str, bytes, type(None), type(Ellipsis)})


def is_harmless(function: Callable[..., Any]) -> bool:
    """Whether calls of `function` on plain values, arrays and tensors are proven to only compute.

    A True holds as long as nothing else rebinds the globals it reads; functions that are proven
    themselves cannot do that.
    """
    return _Proof().admits_function(function)


class _Proof:
    """One proof; functions already looked at are not looked at again, so recursion ends."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._entries = 0

    def admits_function(self, function: Any) -> bool:
        if type(function) is not FunctionType or function.__code__.co_flags & _UNUSUAL_FLAGS:
            return False
        if id(function) in self._seen:
            return True
        self._seen.add(id(function))
        held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        try:
            held += [cell.cell_contents for cell in function.__closure__ or ()]
        except ValueError:  # a cell without contents
            return False
        return all(map(self._admits, held)) and self._admits_code(function.__code__, function)

    def _admits_code(self, code: CodeType, function: FunctionType) -> bool:
        for step in dis.get_instructions(code):
            if step.opname == "MATCH_CLASS":  # it reads attributes whose names are constants
                return False
            if step.opcode in _BY_NAME and not self._admits_name(step, function):
                return False
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        return all(self._admits_code(one, function) for one in inner)

    def _admits_name(self, step: dis.Instruction, function: FunctionType) -> bool:
        opname, name = step.opname, step.argval
        if opname in _ATTRIBUTE_READS:
            return name in _ATTRIBUTES
        if opname == "IMPORT_NAME":
            return name in _MODULES and name in sys.modules
        if opname not in _GLOBAL_READS:
            return False
        missing = object()
        value = function.__globals__.get(name, missing)
        if value is missing:
            return name in _BUILTINS
        return self._admits(value)

    def _admits(self, value: Any) -> bool:
        kind = type(value)
        if kind in _SCALARS:
            return True
        if kind in (list, tuple, set, frozenset, dict):
            self._entries += len(value)
            # An empty list or dict is there to be filled, who knows with what.
            if self._entries > _MOST_ENTRIES or (not value and kind in (list, set, dict)):
                return False
            parts = [*value.keys(), *value.values()] if kind is dict else value
            return all(map(self._admits, parts))
        if kind is FunctionType and not _is_listed(value):
            return self.admits_function(value)
        if kind is ModuleType:
            return value.__name__ in _MODULES and sys.modules.get(value.__name__) is value
        return _is_numeric(value) or _is_listed(value)


def _is_numeric(value: Any) -> bool:
    """Whether it is an array, scalar or dtype of NumPy or torch that holds no Python objects."""
    kind = type(value)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and kind is numpy.ndarray:
        return not value.dtype.hasobject
    if numpy is not None and isinstance(value, (numpy.generic, numpy.dtype)):
        return kind.__module__.partition(".")[0] == "numpy" and kind is not numpy.object_
    return torch is not None and kind in (torch.Tensor, torch.dtype)


def _is_listed(value: Any) -> bool:
    """Whether it is one of the listed builtins, or a listed member of a listed module."""
    name = getattr(value, "__name__", None)
    if not isinstance(name, str):
        return False
    if name in _BUILTINS:
        return getattr(builtins, name) is value
    homes = [sys.modules[module] for module in _MODULES if module in sys.modules]
    return name in _ATTRIBUTES and any(getattr(home, name, None) is value for home in homes)
