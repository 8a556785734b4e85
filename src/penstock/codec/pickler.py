"""Cloudpickle with three differences that serving needs.

* A module is always stored by name, also while functions of it travel by value.
* Globals that only the body of a nested class uses travel too (cloudpickle leaves them out).
* A function wrapped by `functools.lru_cache` in a script or notebook travels as itself; by name it
  could not be found on the server.

Imported by `penstock.codec.functions` inside functions: the server process never loads a pickler.
"""

from __future__ import annotations

import dis
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

_OPTIMIZED = 0x01
_CACHED = type(functools.lru_cache(len))


class FunctionPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles a function by value. `modules` collects the modules it refers to by name."""

    def __init__(self, file: Any, **options: Any) -> None:
        super().__init__(file, **options)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Return how `obj` is rebuilt, or NotImplemented for pickle's own way."""
        if isinstance(obj, ModuleType) and sys.modules.get(obj.__name__) is obj:
            self.modules.add(obj.__name__)
            return importlib.import_module, (obj.__name__,)
        if isinstance(obj, _CACHED) and not _is_importable(obj):
            return rebuild_cached, (obj.__wrapped__, *obj.cache_parameters().values())
        reduced = super().reducer_override(obj)
        if isinstance(obj, FunctionType) and isinstance(reduced, tuple):
            reduced[2][1]["__globals__"].update(_class_body_globals(obj))
        return reduced


def rebuild_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """Return `function` with an empty `functools.lru_cache` of the same form around it."""
    return functools.lru_cache(maxsize, typed)(function)


def _is_importable(obj: Any) -> bool:
    name = obj.__module__
    if name == "__main__" or name in cloudpickle.list_registry_pickle_by_value():
        return False
    return getattr(sys.modules.get(name), obj.__qualname__, None) is obj


def _class_body_globals(function: FunctionType) -> dict[str, Any]:
    space = function.__globals__
    names = {
        instruction.argval
        for code in _class_bodies(function.__code__)
        for instruction in dis.get_instructions(code)
        if instruction.opname in {"LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
    }
    return {n: space[n] for n in sorted(names) if n in space and not n.startswith("__")}


def _class_bodies(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if not constant.co_flags & _OPTIMIZED:
                yield constant
            yield from _class_bodies(constant)
