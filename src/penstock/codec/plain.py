"""Turns whatever a function returned into plain JSON values: dict, list, str, int, float, None.

Called by `results` for answers and by `request` for what a client sends, with the name to begin
paths with and the error to raise. Rules:

* list, tuple and named tuple become a list; a mapping becomes a dict, its keys text.
* NumPy arrays and scalars and torch tensors become nested lists and numbers.
* dataclasses and msgspec structs become a dict by field name; an enum member becomes its value.
* dates, times and UUIDs become ISO text, a `Decimal` the text of its digits.
* anything else, sets and bytes too, is an error naming the path.
"""

# ruff: noqa: SLF001 - the rules at the end belong to Conversion; they are chosen once per type.

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NoReturn

import msgspec

from penstock.codec.arrays import LISTED_KINDS, array_family, array_to_lists, tensor_to_array

SCALARS = frozenset({str, int, float, bool, type(None)})
MAX_DEPTH = 200

_LISTS = frozenset({list, tuple})
_PLAIN = SCALARS | _LISTS | {dict}
_TEXT = frozenset({str})
_WORDS = {True: "true", False: "false", None: "null"}
_HINTS = {
    "set": "Return sorted(...) or list(...) of it.",
    "frozenset": "Return sorted(...) or list(...) of it.",
    "bytes": "Return base64.b64encode(value).decode() instead.",
    "bytes_": "Return base64.b64encode(value).decode() instead.",
    "bytearray": "Return base64.b64encode(value).decode() instead.",
    "memoryview": "Return base64.b64encode(value).decode() instead.",
    "complex": "Return [value.real, value.imag] instead.",
    "timedelta": "Return value.total_seconds() instead.",
    "DataFrame": 'Return value.to_dict("records") instead.',
    "Series": "Return value.tolist() instead.",
    "Index": "Return value.tolist() instead.",
    "generator": "Return list(...) of it.",
    "range": "Return list(...) of it.",
}
_HINT = "Use lists, dicts, NumPy arrays or torch tensors of numbers and text."


def is_plain(value: Any) -> bool:
    """Whether `value` consists of JSON values only, of exactly those types, with text keys.

    The value must not contain itself.
    """
    level = [value]
    while not SCALARS.issuperset(kinds := set(map(type, level))):
        if not kinds <= _PLAIN:
            return False
        # A level at a time, without Python code per item: answers may have many rows.
        below: list[Any] = []
        if dict in kinds:
            dicts = level if len(kinds) == 1 else [item for item in level if type(item) is dict]
            if not _TEXT.issuperset(map(type, chain.from_iterable(dicts))):
                return False
            below += chain.from_iterable(map(dict.values, dicts))
        if not kinds.isdisjoint(_LISTS):
            alike = kinds <= _LISTS
            lists = level if alike else [item for item in level if type(item) in _LISTS]
            below += chain.from_iterable(lists)
        level = below
    return True


class Conversion:
    """One conversion of a value to plain JSON values.

    Args:
        root: What paths in messages begin with, such as `result`.
        error: Makes the error from a message and a hint.
    """

    __slots__ = ("_error", "_inside", "_path")

    def __init__(self, root: str, error: Callable[..., Exception]) -> None:
        self._error = error
        self._path = [root]
        self._inside: set[int] = set()

    def run(self, value: Any) -> Any:
        """Return `value` as plain JSON values; what is plain already is not copied.

        Raises:
            The error given, naming the path and type of what has no JSON form, of what contains
            itself, of text that is not Unicode, or of two keys that become one.
        """
        try:
            return self._convert(value)
        except RecursionError:
            self._refuse("is nested too deeply", "Return flatter data.")

    def locate(self, value: Any, fits: Callable[[Any], bool]) -> NoReturn:
        """Raise the error for the first scalar of plain `value` that does not fit."""
        for step, item in _children(value):
            self._path.append(step)
            if not fits(item):
                self.locate(item, fits)
            self._path.pop()
        self._refuse(f"is a {type(value).__name__} that JSON cannot hold: {_shown(value)}")

    def _convert(self, value: Any) -> Any:
        kind: Any = type(value)
        return value if kind in SCALARS else _rule(kind)(self, value)

    def _guarded(self, value: Any, convert: Callable[[Conversion, Any], Any]) -> Any:
        if id(value) in self._inside:
            self._refuse("contains itself")
        if len(self._inside) >= MAX_DEPTH:
            self._refuse(f"is nested deeper than {MAX_DEPTH} levels", "Return flatter data.")
        self._inside.add(id(value))
        done = convert(self, value)
        self._inside.discard(id(value))
        return done

    def _sequence(self, value: Iterable[Any]) -> list[Any]:
        if SCALARS.issuperset(map(type, value)):
            return value if type(value) is list else list(value)
        out = []
        for number, item in enumerate(value):
            self._path.append(f"[{number}]")
            out.append(self._convert(item))
            self._path.pop()
        return out

    def _mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in value.items():
            name = key if type(key) is str else self._key(key)
            if type(item) in SCALARS and name not in out:
                out[name] = item
                continue
            self._path.append(f'["{name}"]')
            if name in out:
                self._refuse("is there twice: two keys become the same text")
            out[name] = self._convert(item)
            self._path.pop()
        return out

    def _key(self, key: Any) -> str:
        self._path.append(f"[key {_shown(key)}]")
        plain = self._convert(key)
        if type(plain) not in SCALARS:
            self._refuse(f"is a {_name(key)}, which cannot be a key in JSON", "Use text as keys.")
        self._path.pop()
        if type(plain) is str:
            return plain
        if plain is None or type(plain) is bool:
            return _WORDS[plain]
        return self._digits(plain)

    def _digits(self, number: int | float) -> str:
        try:
            return repr(number)
        except ValueError:
            self._refuse(f"has a key that is an {_shown(number)}", "Use text as keys.")

    def _array(self, array: Any) -> Any:
        kind = array.dtype.kind
        if kind in LISTED_KINDS:
            return array_to_lists(array)
        if kind not in "OT":
            what = "is an array of" if array.ndim else "is a"
            self._refuse(f"{what} {array.dtype.name}", "Convert it to numbers, text or dates.")
        return self._convert(array.tolist())

    def _tensor(self, tensor: Any) -> Any:
        try:
            array = tensor_to_array(tensor)
        except (RuntimeError, TypeError) as error:
            self._refuse(f"is a tensor whose values cannot be read ({error})")
        return self._array(array)

    def _fields(self, value: Any) -> dict[str, Any]:
        if isinstance(value, msgspec.Struct):
            names = type(value).__struct_fields__
        else:
            names = tuple(field.name for field in dataclasses.fields(value))
        out = {}
        for name in names:
            self._path.append(f".{name}")
            out[name] = self._convert(getattr(value, name))
            self._path.pop()
        return out

    def _unknown(self, value: Any) -> NoReturn:
        name = _name(value)
        hint = _HINTS.get(type(value).__name__, _HINT)
        self._refuse(f"is a {name}, which has no JSON form", hint, type=name)

    def _refuse(self, what: str, hint: str | None = None, **facts: Any) -> NoReturn:
        steps = self._path if len(self._path) <= 12 else [*self._path[:8], "…", *self._path[-3:]]
        where = "".join(steps).encode("utf-8", "backslashreplace").decode()
        raise self._error(f"{where} {what}.", hint=hint, **facts) from None


Rule = Callable[[Conversion, Any], Any]


@lru_cache(maxsize=1024)
def _rule(kind: type) -> Rule:
    # Decided once per type: a result has many values of few types.
    if issubclass(kind, enum.Enum):
        return lambda work, value: work._convert(value.value)
    for plain in (str, int, float):
        if issubclass(kind, plain):
            return lambda _, value, plain=plain: plain(value)  # type: ignore[misc]
    family = array_family(kind)
    if family is not None:
        return _array_rule(family)
    if issubclass(kind, (list, tuple)):
        return lambda work, value: work._guarded(value, Conversion._sequence)
    if issubclass(kind, Mapping):
        return lambda work, value: work._guarded(value, Conversion._mapping)
    if issubclass(kind, (datetime.date, datetime.time)):
        # pandas.NaT calls itself a datetime and differs from itself.
        return lambda _, value: value.isoformat() if value == value else None  # noqa: PLR0124
    if issubclass(kind, (uuid.UUID, decimal.Decimal)):
        return lambda _, value: str(value)
    if issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind):
        return lambda work, value: work._guarded(value, Conversion._fields)
    return Conversion._unknown


def _array_rule(family: str) -> Rule:
    if family == "number":
        return lambda _, value: value.item()
    if family == "scalar":
        return lambda work, value: work._array(value.reshape(()))
    return Conversion._tensor if family == "tensor" else Conversion._array


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        keys = [(f"[key {_shown(key)}]", key) for key in value]
        return keys + [(f'["{key}"]', item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{number}]", item) for number, item in enumerate(value)]
    return []


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _shown(value: Any) -> str:
    try:
        return ascii(value)[:60]
    except ValueError:
        return f"{type(value).__name__} of thousands of digits"
