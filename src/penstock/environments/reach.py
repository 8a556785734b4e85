"""What a processing function reaches: modules, values that travel with it, names that are missing.

Follows global names, closures, defaults, decorators, helper functions and classes from the
function's code, the way cloudpickle will. Nothing is pickled and nothing is imported here.
Called by `penstock.environments.imports.scan`.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from penstock.environments.code import CodeFacts, facts_of
from penstock.environments.homes import Home, Homes
from penstock.environments.local_modules import Origin, origin_of, targets

#: Names that IPython adds to `builtins`; a worker does not have them.
_NOT_ON_SERVER = frozenset({"display", "get_ipython"})
#: A closure variable that is not assigned yet has a cell equal to this one.
_EMPTY_CELL = CellType()
_CACHED = type(functools.lru_cache(len))
_BUILTINS = frozenset(dir(builtins)) - _NOT_ON_SERVER

#: Containers longer than this are data, not a list of functions to follow.
_FOLLOW_ITEMS = 256


@dataclass(frozen=True)
class Value:
    """A value that travels with a function. `owner` is the function that uses it."""

    name: str
    value: Any
    owner: str


@dataclass(frozen=True)
class Undefined:
    """A global name that nothing defines, and the function that uses it."""

    name: str
    owner: str


class Reach:
    """Everything one function reaches.

    Attributes:
        imports: Dotted modules needed; True when the code copes without the module.
        values: Values that travel with the function, each once.
        secrets: Names given to `get_secret`; None stands for one that is computed.
    """

    def __init__(self, homes: Homes) -> None:
        self.imports: dict[str, bool] = {}
        self.values: list[Value] = []
        self.secrets: dict[str | None, None] = {}
        self._homes = homes
        self._seen: set[tuple[int, bool]] = set()
        self._keep: list[Any] = []
        self._loaded: list[tuple[Undefined, int]] = []
        self._stored: set[tuple[str, int]] = set()

    def follow(self, function: Any) -> None:
        """Follow `function`, a processing function of any kind."""
        inner = function
        if isinstance(function, MethodType):
            self._attributes(function.__self__)
        elif not isinstance(function, (FunctionType, functools.partial, type)):
            self._attributes(function)
        self._visit("", inner, "", carried=True)

    def undefined(self) -> list[Undefined]:
        """Return the names that are neither global, builtin, nor assigned by reached code."""
        return [u for u, place in self._loaded if (u.name, place) not in self._stored]

    def _need(self, module: str, *, optional: bool = False) -> None:
        self.imports[module] = self.imports.get(module, True) and optional

    def _visit(self, name: str, obj: Any, owner: str, *, carried: bool) -> None:
        if (id(obj), carried) in self._seen:
            return
        self._seen.add((id(obj), carried))
        self._keep.append(obj)  # an id is only good while its object lives
        if isinstance(obj, ModuleType):
            self._need(obj.__name__)
        elif isinstance(obj, FunctionType):
            self._function(name, obj, owner, carried=carried)
        elif isinstance(obj, type):
            self._class(name, obj, owner, carried=carried)
        elif isinstance(obj, MethodType):
            if carried and name:
                self.values.append(Value(name, obj, owner))
            self._visit("", obj.__func__, owner, carried=carried)
            self._visit("", type(obj.__self__), owner, carried=carried)
        elif isinstance(obj, functools.partial):
            self._partial(name, obj, owner, carried=carried)
        elif isinstance(obj, _CACHED):
            self._cached(name, obj, owner, carried=carried)
        else:
            self._value(name, obj, owner, carried=carried)

    def _function(self, name: str, function: FunctionType, owner: str, *, carried: bool) -> None:
        home = self._homes.of(function)
        if home is not Home.VALUE:
            self._need(function.__module__)
        if home is Home.LIBRARY:
            return
        by_value = carried and home is Home.VALUE
        if by_value and name:
            self.values.append(Value(name, function, owner))
        users = _is_users(function)
        if users:
            self._code(function, carried=by_value)
        own = function.__qualname__
        for key, value in _around(function):
            # A library's decorator keeps values of its own, which mean nothing to the user.
            self._visit(key if users else "", value, own, carried=by_value)

    def _code(self, function: FunctionType, *, carried: bool) -> None:
        facts = facts_of(function.__code__)
        space = function.__globals__
        own = function.__qualname__
        self.secrets.update(facts.secrets)
        self._stored.update((name, id(space)) for name in facts.stores)
        self._imports(facts, str(space.get("__package__") or ""))
        for name in facts.loads:
            if _is_dunder(name):
                continue
            if name in space:
                self._visit(name, space[name], own, carried=carried)
                self._members(space[name], facts.attributes)
            elif name not in _BUILTINS and not facts.handles_name_error:
                self._loaded.append((Undefined(name, own), id(space)))

    def _imports(self, facts: CodeFacts, package: str) -> None:
        for statement in facts.imports:
            where = targets(statement.module, statement.level, statement.names, package)
            for target in where:
                self._need(target, optional=statement.optional)
                self._members(sys.modules.get(target), facts.attributes)

    def _members(self, module: Any, names: set[str]) -> None:
        """Follow what the code may use of a local module: every member it names."""
        if not isinstance(module, ModuleType) or origin_of(module.__name__) is not Origin.LOCAL:
            return
        for name in names & vars(module).keys():
            member = vars(module)[name]
            if isinstance(member, (FunctionType, type)):
                self._visit(name, member, module.__name__, carried=False)

    def _class(self, name: str, kind: type, owner: str, *, carried: bool) -> None:
        home = self._homes.of(kind)
        if home is not Home.VALUE:
            self._need(kind.__module__)
        if home is Home.LIBRARY:
            return
        by_value = carried and home is Home.VALUE
        if by_value and name:
            self.values.append(Value(name, kind, owner))
        for base in kind.__bases__:
            self._visit("", base, owner, carried=by_value)
        for key, member in list(vars(kind).items()):
            for part in _unwrapped(member):
                shown = "" if isinstance(part, (FunctionType, type)) else f"{kind.__name__}.{key}"
                if not (key.startswith("_") and shown):
                    self._visit(shown, part, kind.__qualname__, carried=by_value)

    def _cached(self, name: str, cached: Any, owner: str, *, carried: bool) -> None:
        by_value = self._homes.of(cached) is Home.VALUE
        if not by_value:
            self._need(cached.__module__)
        if self._homes.of(cached) is not Home.LIBRARY:
            self._visit(name, cached.__wrapped__, owner, carried=carried and by_value)

    def _partial(
        self, name: str, part: functools.partial[Any], owner: str, *, carried: bool
    ) -> None:
        self._visit(name, part.func, owner, carried=carried)
        for number, value in enumerate(part.args, 1):
            self._visit(f"argument {number} of partial", value, owner, carried=carried)
        for key, value in part.keywords.items():
            self._visit(key, value, owner, carried=carried)

    def _attributes(self, instance: Any) -> None:
        """Take the attributes of a callable object one by one, so that each has a name."""
        for key, value in getattr(instance, "__dict__", {}).items():
            self._visit(f"self.{key}", value, type(instance).__qualname__, carried=True)

    def _value(self, name: str, obj: Any, owner: str, *, carried: bool) -> None:
        if callable(obj) and self._homes.of(obj) is Home.LIBRARY:
            self._need(obj.__module__)
            return
        if carried and name and obj is not None and type(obj).__module__ != "dataclasses":
            self.values.append(Value(name, obj, owner))
        if self._homes.of(type(obj)) is not Home.LIBRARY:
            self._visit("", type(obj), owner, carried=carried)
        for item in _functions_inside(obj):
            self._visit("", item, owner, carried=carried)


def _is_users(function: FunctionType) -> bool:
    """Whether the code was written by the user; a library's decorator leaves code of its own."""
    module = str(function.__globals__.get("__name__"))
    if module.startswith("namedtuple_"):
        return False
    return module == "__main__" or origin_of(module) in {Origin.LOCAL, Origin.MISSING}


def _around(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield name and value of what a function holds besides its globals."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != _EMPTY_CELL:
            yield name, cell.cell_contents
    count = function.__code__.co_argcount
    defaults = function.__defaults__ or ()
    names = function.__code__.co_varnames[count - len(defaults) : count]
    yield from zip(names, defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    yield from (("", v) for v in _annotations(function) if isinstance(v, (type, ModuleType)))
    yield from ((key, v) for key, v in vars(function).items() if key != "__wrapped__")
    yield "", vars(function).get("__wrapped__")


def _annotations(function: FunctionType) -> list[Any]:
    return list(function.__annotations__.values())


def _unwrapped(member: Any) -> list[Any]:
    """Return the functions inside a class member, or the member itself if it is plain data."""
    if isinstance(member, (staticmethod, classmethod)):
        return [member.__func__]
    if isinstance(member, property):
        return [f for f in (member.fget, member.fset, member.fdel) if f is not None]
    if isinstance(member, functools.cached_property):
        return [member.func]
    if hasattr(type(member), "__get__") and not isinstance(member, FunctionType):
        return []
    return [member]


def _functions_inside(obj: Any) -> list[Any]:
    if type(obj) not in {list, tuple, dict, set} or len(obj) > _FOLLOW_ITEMS:
        return []
    items = list(obj.values()) if isinstance(obj, dict) else list(obj)
    kinds = (FunctionType, MethodType, ModuleType, functools.partial, type)
    return [item for item in items if isinstance(item, kinds)]


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
