"""Which fields the playground's form has: read off the example, or off what the model declares.

A field is a place that every data point has: a column of a row, a name of an object, or the data
point itself. `static/js/fields.js` makes the form of it and reads the form back as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Most fields of a data point; with more, the text is easier to look through.
MOST_FIELDS = 64


class Field(NamedTuple):
    """One field.

    Attributes:
        name: Its label, empty for a data point that is one value.
        kind: `number`, `text`, `flag`, or `json` for whatever else there may be.
    """

    name: str
    kind: str


class Form(NamedTuple):
    """The fields of each data point.

    Attributes:
        shape: What holds the fields: `values` (a list of values), `rows` (a list of lists),
            `records` (a list of objects), or `record` (one object that is not in a list).
        fields: In their order.
    """

    shape: str
    fields: list[Field]


def form_of_data(data: Any) -> Form | None:
    """Return the form that an example fits, or None when it would have none or too many fields."""
    if isinstance(data, dict):
        return _checked("record", _of_objects([data]))
    if not isinstance(data, list) or not data:
        return None
    if all(isinstance(point, dict) for point in data):
        return _checked("records", _of_objects(data))
    if all(isinstance(point, list) for point in data):
        if len({len(row) for row in data}) > 1:
            return None
        columns = enumerate(zip(*data, strict=True), 1)
        return _checked("rows", [Field(str(n), _kind(column)) for n, column in columns])
    return _checked("values", [Field("", _kind(data))])


def form_of_inputs(inputs: Sequence[Mapping[str, Any]]) -> Form | None:
    """Return the form of a model that takes a table of numbers, as it declares its inputs."""
    if len(inputs) != 1:
        return None
    declared = inputs[0]
    count, names = declared.get("n_features"), declared.get("columns")
    if not isinstance(count, int):
        return None
    if not isinstance(names, list | tuple) or len(names) != count:
        names = range(1, count + 1)
    return _checked("rows", [Field(str(name), "number") for name in names])


def _of_objects(objects: Sequence[Mapping[str, Any]]) -> list[Field]:
    names = list(objects[0])
    if any(set(one) != set(names) for one in objects):
        return []
    return [Field(name, _kind([one[name] for one in objects])) for name in names]


def _checked(shape: str, fields: list[Field]) -> Form | None:
    return Form(shape, fields) if 0 < len(fields) <= MOST_FIELDS else None


def _kind(values: Sequence[Any]) -> str:
    kinds = {_kind_of(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else "json"


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "json"
