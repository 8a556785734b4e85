"""`save`, `get`, `delete` and `memory`, as processing functions use them.

A run reads its own writes first. When it succeeds they are published to the deployment (or the
project) in one transaction; a run that fails publishes nothing. `memory.incr` and `memory.update`
act for everybody at once. Outside a run, for example in a notebook, the functions use a memory of
this process, so that functions can be tried by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from penstock.codec.memory import DEPLOYMENT, PROJECT, Write
from penstock.core.errors import InvalidSetting
from penstock.flow.context import CURRENT
from penstock.flow.local_memory import LocalMemory
from penstock.flow.space import MISSING, MemorySpace, not_found, pack_or_none

#: Where a value is kept: only for this run, for the deployment, or for all of the project.
Scope = Literal["run", "deployment", "project"]

RUN = "run"
_SCOPES = (RUN, DEPLOYMENT, PROJECT)


class RunMemory:
    """What one run wrote and read so far.

    Args:
        space: The memory shared with other runs.
    """

    __slots__ = ("_own", "_seen", "_space", "_ttl")

    def __init__(self, space: MemorySpace) -> None:
        self._space = space
        self._own: dict[tuple[str, str], Any] = {}
        self._ttl: dict[tuple[str, str], float | None] = {}
        self._seen: dict[tuple[str, str], Any] = {}

    def save(self, name: str, value: Any, scope: str, ttl: float | None) -> None:
        """Keep a value for this run; it is published when the run succeeds."""
        self._check_not_given(name, scope, "save")
        self._ttl[scope, name] = ttl  # before the value: `writes` may look in between
        self._own[scope, name] = value

    def get(self, name: str, scope: str) -> Any:
        """Return the run's own value, else the shared one as it was at the run's first look."""
        key = (scope, name)
        value = self._own.get(key, self)
        if value is self and scope == DEPLOYMENT:
            value = self._own.get((RUN, name), self)
            if value is self:
                value = self._space.given.get(name, self)
        if value is self:
            value = self._seen.get(key, self)
        if value is self:
            value = MISSING if scope == RUN else self._space.read(scope, name)
            self._seen[key] = value
        if value is MISSING:
            raise not_found(name)
        return value

    def delete(self, name: str, scope: str) -> None:
        """Forget a name for this run, and for everybody when the run succeeds."""
        self.get(name, scope)
        if (RUN, name) in self._own and scope == DEPLOYMENT and (scope, name) not in self._own:
            scope = RUN
        self._check_not_given(name, scope, "delete")
        self._ttl[scope, name] = None
        self._own[scope, name] = MISSING

    def incr(self, name: str, by: float, scope: str, ttl: float | None) -> int | float:
        """Add to a number: the run's own if it has one, else the shared one, at once."""
        self._check_not_given(name, scope, "memory.incr")
        key = (scope, name)
        if scope != RUN and key not in self._own:
            self._seen.pop(key, None)
            return self._space.increment(scope, name, by, ttl)
        old = self._own.get(key, 0)
        new = by if old is MISSING else old + by
        self.save(name, new, scope, ttl)
        return new

    def update(
        self, name: str, function: Callable[[Any], Any], default: Any, scope: str, ttl: float | None
    ) -> Any:
        """Replace a value by `function(value)`: the run's own, else the shared one, at once."""
        self._check_not_given(name, scope, "memory.update")
        key = (scope, name)
        if scope != RUN and key not in self._own:
            self._seen.pop(key, None)
            return self._space.update(scope, name, function, default, ttl)
        old = self._own.get(key, MISSING)
        if old is MISSING:
            old = default
        if old is MISSING:
            raise not_found(name)
        new = function(old)
        self.save(name, new, scope, ttl)
        return new

    def _check_not_given(self, name: str, scope: str, act: str) -> None:
        if scope == DEPLOYMENT:
            self._space.check_not_given(name, act)

    @property
    def has_writes(self) -> bool:
        """Whether anything was saved or deleted."""
        return bool(self._own)

    def writes(self) -> list[Write]:
        """Return what is to be published, pickled, in the order first written.

        A task or thread that a function left behind may save meanwhile.
        """
        found: list[Write] = []
        for (scope, name), value in self._own.copy().items():
            if scope == RUN:
                continue
            packed = None if value is MISSING else pack_or_none(name, value)
            if packed is not None or value is MISSING:
                found.append(Write(scope, name, packed, self._ttl[scope, name]))
        return found

    def settle(self) -> None:
        """Publish at once and read anew from now on: how calls outside a run work."""
        writes = self.writes()
        self._seen.clear()
        for write in writes:  # what is refused is forgotten, or every later call would fail by it
            del self._own[write.scope, write.name]
        if writes:
            self._space.publish(writes)


@lru_cache(maxsize=1)
def process_space() -> MemorySpace:
    """Return the memory of this process, shared by local runs and calls outside a run."""
    return MemorySpace(LocalMemory().ask)


@lru_cache(maxsize=1)
def _outside() -> RunMemory:
    return RunMemory(process_space())


def _check(name: object, scope: object, ttl: object = None) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a memory name is a str, not {type(name).__name__}")
    if scope not in _SCOPES:
        raise InvalidSetting(
            f"scope={scope!r} for {name!r}: the scopes are " + ", ".join(map(repr, _SCOPES)) + "."
        )
    if ttl is not None and not (isinstance(ttl, (int, float)) and ttl > 0):
        raise InvalidSetting(f"ttl={ttl!r} for {name!r}: give seconds greater than 0, or None.")


def _act(method: str, *arguments: Any) -> Any:
    run = CURRENT.get()
    if run is None:
        held = _outside()
        try:
            return getattr(held, method)(*arguments)
        finally:
            held.settle()
    if run.memory is None:
        run.memory = RunMemory(run.space)
    return getattr(run.memory, method)(*arguments)


def save(name: str, obj: Any, *, scope: Scope = "deployment", ttl: float | None = None) -> None:
    """Save any object under a name.

    The run that saves sees it at once; other runs see it when this run has succeeded. It is
    pickled then; an object that cannot be pickled stays visible to this run only.

    Args:
        name: The name.
        obj: The object.
        scope: `"deployment"` (all versions and replicas), `"project"`, or `"run"`.
        ttl: Seconds until it is forgotten; None keeps it.

    Raises:
        TypeError: The name is not text.
        ValueError: A `setup` of the flow returned this name.
    """
    _check(name, scope, ttl)
    _act("save", name, obj, scope, ttl)


def get(name: str, *, scope: Scope = "deployment") -> Any:
    """Return the object saved under a name, or the one a `setup` of the flow returned under it.

    The run's own values come first, then those of `setup` (the very objects, for `scope` as it is
    by default), then the shared ones.

    Raises:
        NameError: There is none.
    """
    _check(name, scope)
    return _act("get", name, scope)


def delete(name: str, *, scope: Scope = "deployment") -> None:
    """Forget a name.

    Raises:
        NameError: There is none.
    """
    _check(name, scope)
    _act("delete", name, scope)


class Memory:
    """`penstock.memory`: save, get and delete, and changes that are atomic across replicas."""

    save = staticmethod(save)
    get = staticmethod(get)
    delete = staticmethod(delete)

    def incr(
        self, name: str, by: float = 1, *, scope: Scope = "deployment", ttl: float | None = None
    ) -> int | float:
        """Add to a number and return the sum; a missing name counts as 0.

        It counts at once and for everybody, even if the run fails later. If this run has saved
        the name itself, its own value is changed instead.
        """
        _check(name, scope, ttl)
        return _act("incr", name, by, scope, ttl)  # type: ignore[no-any-return]

    def update(
        self,
        name: str,
        fn: Callable[[Any], Any],
        default: Any = MISSING,
        *,
        scope: Scope = "deployment",
        ttl: float | None = None,
    ) -> Any:
        """Replace a value by `fn(value)` with no other change in between, and return it.

        `fn` may be called more than once when other runs change the value at the same time.

        Args:
            name: The name.
            fn: Gets the old value, returns the new one.
            default: The old value when there is none.
            scope: As for `save`.
            ttl: As for `save`.

        Raises:
            NameError: There is no such name and no default.
        """
        _check(name, scope, ttl)
        return _act("update", name, fn, default, scope, ttl)

    def __repr__(self) -> str:
        return "<penstock.memory>"

    def __reduce__(self) -> str:
        return "memory"


memory = Memory()

# Functions that use these are pickled with the public path, which every release keeps.
for _public in (save, get, delete, Memory):
    _public.__module__ = "penstock"
