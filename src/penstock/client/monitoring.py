"""References and truths as `Endpoint.monitor` and `Endpoint.feedback` send them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.codec.plain import Conversion
from penstock.core.errors import MalformedBody

#: Bytes of truths that are sent at once.
PART_BYTES = 256 * 1024

#: Rows of a reference that are sent; of a longer one an even sample.
MOST_ROWS = 20_000


def reference_rows(name: str, given: Any) -> Any:
    """Return a reference as JSON values, with at most `MOST_ROWS` rows, evenly taken.

    Args:
        name: What it is called in messages.
        given: A list of rows, an array, a data frame, or a dict of columns.
    """
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        given = given.to_dict("list")
    plain = Conversion(name, MalformedBody).run(given)
    if isinstance(plain, dict):
        return {column: _some(values) for column, values in plain.items()}
    return _some(plain)


def _some(rows: Any) -> Any:
    if not isinstance(rows, list) or len(rows) <= MOST_ROWS:
        return rows
    return [rows[index * len(rows) // MOST_ROWS] for index in range(MOST_ROWS)]


def truths_of(truths: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield truths by prediction id as JSON values, as many at once as one request may have."""
    part: dict[str, Any] = {}
    size = 0
    for name, truth in truths.items():
        part[str(name)] = plain = Conversion("truths", MalformedBody).run(truth)
        size += len(str(name)) + len(json.dumps(plain)) + 8
        if size >= PART_BYTES:
            yield part
            part, size = {}, 0
    if part or not truths:
        yield part
