"""Answered calls to rows: one for each data point.

Called in the process that writes predictions only, where time does not matter. What belongs to a
data point is documented in `docs/reference/prediction-log.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.codec.payload import decode
from penstock.codec.prediction_messages import Answered, LoggedVersion
from penstock.core.errors import PenstockError
from penstock.core.loggers import LoggerSpec
from penstock.stores.loggers import PredictionRow

#: Largest data point and result that a row holds as JSON, in bytes.
MOST_JSON = 64 * 1024

_NUMBERS = (bool, int, float)


class _Envelope(msgspec.Struct):
    """The answer's body as `penstock.codec.results` makes it."""

    result: Any
    run_id: str
    run_time_ms: float
    prediction_ids: list[str]


_decode_answer = msgspec.json.Decoder(_Envelope).decode


def rows_of(answered: Answered, version: LoggedVersion, spec: LoggerSpec) -> list[PredictionRow]:
    """Return a row for each prediction of a call, named as one of its version's loggers says.

    Raises:
        msgspec.MsgspecError: The answer is none of ours.
    """
    answer = _decode_answer(answered.answer)
    count = len(answer.prediction_ids)
    data, files = _request(answered)
    inputs, results = divide(data, count), divide(answer.result, count)
    return [
        PredictionRow(
            prediction_id=prediction_id,
            run_id=answer.run_id,
            index=index,
            time=answered.arrived_at,
            project=version.project,
            deployment=version.deployment,
            version=version.number,
            run_time_ms=answer.run_time_ms,
            input=as_json(inputs[index]),
            result=as_json(results[index]),
            **_values("features", inputs[index], spec.features),  # type: ignore[arg-type]
            **_values("outputs", results[index], spec.targets),  # type: ignore[arg-type]
            files=files,
        )
        for index, prediction_id in enumerate(answer.prediction_ids)
    ]


def _request(answered: Answered) -> tuple[Any, int]:
    """Return the request's data, None if it is not known, and its number of files."""
    if answered.body is None:
        return None, 0
    try:
        request = decode(answered.media_type.decode("latin-1"), answered.body)
    except PenstockError:
        return None, 0
    data = request.data.tolist() if hasattr(request.data, "tolist") else request.data
    return (None if request.files and data == [] else data), len(request.files)


def divide(value: Any, count: int) -> list[Any]:
    """Return what of a value belongs to each data point; None where nothing does."""
    if isinstance(value, list) and len(value) == count:
        return value
    if isinstance(value, dict) and value and _is_columns(value, count):
        return [{name: column[i] for name, column in value.items()} for i in range(count)]
    return [value, *[None] * (count - 1)][:count]


def _is_columns(value: dict[Any, Any], count: int) -> bool:
    return all(isinstance(column, list) and len(column) == count for column in value.values())


def as_json(value: Any) -> str | None:
    """Return a value as JSON; None for none, and for what is too large or has no such form."""
    if value is None:
        return None
    try:
        raw = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return raw.decode() if len(raw) <= MOST_JSON else None


def _values(
    what: str, item: Any, names: Sequence[str]
) -> dict[str, dict[str, float | None] | dict[str, str]]:
    """Return the item's scalars by name: numbers as `what`, texts as `what` with `_text`."""
    if isinstance(item, dict):
        pairs = [(str(name), value) for name, value in item.items()]
    else:
        listed = item if isinstance(item, list) else [item]
        pairs = [(names[i] if i < len(names) else str(i), v) for i, v in enumerate(listed)]
        if item is None:
            pairs = []
    numbers = {n: _number(v) for n, v in pairs if v is None or isinstance(v, _NUMBERS)}
    return {what: numbers, f"{what}_text": {n: v for n, v in pairs if isinstance(v, str)}}


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except OverflowError:  # an integer beyond all doubles
        return None
