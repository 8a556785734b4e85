"""Writes answers: results, the envelope around them, and errors, as JSON bytes.

`encode_json` and `envelope` are called by the worker for every call; `to_plain` by local runs,
which return exactly what a served run's caller would read. NaN and infinities become `null`, which
is the only JSON for "no number".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from penstock.codec.plain import Conversion, is_plain
from penstock.core.errors import PenstockError, ResultNotSerialisable
from penstock.core.text import Text

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_encode_facts = msgspec.json.Encoder(enc_hook=str).encode

# What the encoder raises for types it does not know, text it cannot write, and endless nesting.
_UNFIT = (TypeError, ValueError, OverflowError, RecursionError)


# Longer answers are looked through instead: reading them makes many objects.
_READ_BACK = 16 * 1024

# Seven times stand in each answer, most of them short: looked up, not written.
_SHORT_TIMES = [b"%.3f" % (micros / 1e3) for micros in range(2048)]
_SHORT_NS = 1000 * len(_SHORT_TIMES)

#: Most data points whose ids are kept half-written: those of a million take 11 MB.
_KEPT_IDS = 4096


def encode_json(value: Any) -> bytes:
    """Return a flow's result as JSON bytes.

    A scalar or text at the top is wrapped in a one-element list, a `Text` is not.
    `penstock.codec.plain` says what becomes of each type.

    Raises:
        ResultNotSerialisable: Something in it has no JSON form; the message names its path
            (`result["a"][0]`) and type.
    """
    kind = type(value)
    if kind is dict or kind is list or kind is tuple:
        try:
            body = _encode(value)
        except _UNFIT:
            return _encode_other(value)
        # The encoder also takes sets and bytes, which are errors here, and merges keys. Whatever
        # reads back as equal had none of those; for small answers that is the cheapest proof.
        if (len(body) < _READ_BACK and _reads_back(body, value)) or is_plain(value):
            return body
    return _encode_other(value)


def _reads_back(body: bytes, value: Any) -> bool:
    try:
        return bool(_decode(body) == value)
    except (*_UNFIT, msgspec.MsgspecError):
        return False


def to_plain(value: Any) -> Any:
    """Return what a caller reads from `encode_json(value)`: `json.loads` of it, exactly.

    Raises:
        ResultNotSerialisable: As `encode_json`.
    """
    return _decode(encode_json(value))


def encode_plain(value: Any, root: str, error: type[PenstockError]) -> bytes:
    """Return plain JSON values as bytes; `root` begins the path in the message of an `error`."""
    try:
        return _encode(value)
    except RecursionError:
        raise error(f"{root} is nested too deeply.", hint="Use flatter data.") from None
    except _UNFIT:
        Conversion(root, error).locate(value, _fits)


def envelope(result: bytes, run_id: str, run_time_ms: float, count: int) -> bytes:
    """Return the body of a successful answer around an encoded result.

    Args:
        result: JSON bytes from `encode_json`; taken as they are.
        run_id: The run's id (a UUID, so it needs no escaping).
        run_time_ms: Milliseconds; written with three decimals.
        count: Number of data points; each gets the id `<run_id>-<number>`.
    """
    run = run_id.encode("ascii")
    if count == 1:
        return b'{"result":%b,"run_id":"%b","run_time_ms":%.3f,"prediction_ids":["%b-0"]}' % (
            result,
            run,
            run_time_ms,
            run,
        )
    return b'{"result":%b,"run_id":"%b","run_time_ms":%.3f,"prediction_ids":[%b]}' % (
        result,
        run,
        run_time_ms,
        (_kept_pattern(count) if count <= _KEPT_IDS else _id_pattern(count)).replace(b"\n", run),
    )


def milliseconds(spent_ns: Sequence[int]) -> tuple[bytes, ...]:
    """Return each time, in nanoseconds, as text in milliseconds with three decimals."""
    return tuple(
        [
            _SHORT_TIMES[spent // 1000] if 0 <= spent < _SHORT_NS else b"%.3f" % (spent / 1e6)
            for spent in spent_ns
        ]
    )


def error_body(error: PenstockError, run_id: str | None, with_traceback: bool) -> bytes:
    """Return the body of an answer that failed: `{"error": {...}, "run_id": ...}`.

    Args:
        error: What happened. Facts that have no JSON form are written as their text.
        run_id: The run's id, or None when there is no run.
        with_traceback: Whether the caller may see user code's traceback.
    """
    shown = error.to_dict(with_traceback=with_traceback)
    try:
        return _encode_facts({"error": shown, "run_id": run_id})
    except _UNFIT:
        # Messages quote what users wrote, which may hold text that is not Unicode.
        texts = {k: _readable(v) for k, v in shown.items() if k != "facts"}
        return _encode({"error": texts, "run_id": run_id})


@lru_cache(maxsize=64)
def _kept_pattern(count: int) -> bytes:
    return _id_pattern(count)


def _id_pattern(count: int) -> bytes:
    return b",".join(b'"\n-%d"' % number for number in range(count))


def _encode_other(value: Any) -> bytes:
    if type(value) is Text:
        return encode_plain(str(value), "result", ResultNotSerialisable)
    plain = Conversion("result", ResultNotSerialisable).run(value)
    if type(plain) is not dict and type(plain) is not list:
        plain = [plain]
    return encode_plain(plain, "result", ResultNotSerialisable)


def _fits(value: Any) -> bool:
    try:
        _encode(value)
    except _UNFIT:
        return False
    return True


def _readable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if type(value) is str else value
