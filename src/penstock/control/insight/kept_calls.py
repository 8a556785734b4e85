"""A call that is kept: what the loop notes of it, and the record that is made of that later.

`note` runs on the event loop and only cuts bodies to size; `record_of` runs in the store's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from penstock.codec.light import UNREADABLE
from penstock.control.concealed import without_values
from penstock.control.insight.samples import Samples, sample
from penstock.core.insight_records import CallRecord
from penstock.core.run_records import ReplicaId
from penstock.core.states import RunState
from penstock.engine.base import Answer, VersionKey

if TYPE_CHECKING:
    from penstock.control.predict import PredictCall

#: Bytes of an error object that are kept.
_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True)
class KeepOptions:
    """Which calls are kept, and how much of them.

    Attributes:
        successes: `none`, `some` or `all` of the good ones. Those that failed are always kept.
        per_minute: Good calls of one version that are kept in a minute, with `some`.
        samples: What is kept of inputs and results.
        sample_bytes: Most bytes of an input, and of a result.
    """

    successes: str = "some"
    per_minute: float = 12.0
    samples: Samples = Samples.FULL
    sample_bytes: int = 64 * 1024


class Kept(NamedTuple):
    """What the loop notes of a call that is kept."""

    key: VersionKey
    run_id: str
    key_id: str
    created_at: float
    took_ns: int
    media_type: bytes
    size: int
    input: bytes
    code: str
    timing: bytes
    body: bytes
    body_size: int
    media: int
    error: dict[str, Any] | None
    replica: ReplicaId | None = None

    @property
    def bytes_held(self) -> int:
        """Bytes of bodies that it holds on to."""
        return len(self.input) + len(self.body)


def note(call: PredictCall, answer: Answer, took_ns: int, now: float, options: KeepOptions) -> Kept:
    """Return what is kept of a call that was just answered."""
    most = 0 if options.samples is Samples.OFF else options.sample_bytes
    sent, error = call.body.data, answer.error
    return Kept(
        key=call.pool.key,
        run_id=call.run_id,
        key_id=call.record.key_id if call.record is not None else "",
        created_at=now - took_ns / 1e9,
        took_ns=took_ns,
        media_type=call.media_type,
        size=call.body.size,
        input=b"" if sent is None else sent[:most],
        code=answer.code,
        timing=answer.timing,
        body=bytes(answer.body[: max(most + 4096, _ERROR_BYTES if answer.code else 0)]),
        body_size=len(answer.body),
        media=answer.media,
        error=error.to_dict(with_traceback=True) if error is not None else None,
        replica=answer.replica,
    )


def record_of(kept: Kept, options: KeepOptions) -> CallRecord:
    """Return the record of a call."""
    limit, how = options.sample_bytes, options.samples
    sent, sent_cut = (None, False)
    if kept.input or not kept.size:
        sent, sent_cut = sample(kept.input, kept.size, limit, how)
    result, points, result_cut = None, 0, False
    if not kept.code and kept.media == 0:
        result, points, result_cut = _result(kept, limit, how)
    return CallRecord(
        run_id=kept.run_id,
        project=kept.key.project,
        deployment=kept.key.deployment,
        version=kept.key.number,
        key_id=kept.key_id,
        state=RunState.FAILED if kept.code else RunState.SUCCEEDED,
        created_at=kept.created_at,
        run_time_ms=kept.took_ns / 1e6,
        media_type=kept.media_type.decode("latin-1"),
        size_bytes=kept.size,
        points=points,
        server_timing=kept.timing.decode("latin-1"),
        code=kept.code or None,
        error=_error(kept, how) if kept.code else None,
        input=sent,
        result=result,
        input_cut=sent_cut,
        result_cut=result_cut,
        replica=kept.replica,
    )


class _Envelope(msgspec.Struct):
    result: msgspec.Raw
    prediction_ids: list[msgspec.Raw] = []


class _Refusal(msgspec.Struct):
    error: dict[str, Any]


def _result(kept: Kept, limit: int, how: Samples) -> tuple[bytes | None, int, bool]:
    """Return result, data points, and whether the result is only the beginning."""
    try:
        found = msgspec.json.decode(kept.body, type=_Envelope)
    except UNREADABLE:
        # The answer was cut, or asked for without its envelope.
        begun = kept.body.removeprefix(b'{"result":')
        shown, _ = sample(begun, kept.body_size, limit, how)
        return shown, 0, shown is not None
    raw = bytes(found.result)
    shown, cut = sample(raw, len(raw), limit, how)
    return shown, len(found.prediction_ids), cut


def _error(kept: Kept, how: Samples) -> str:
    error = kept.error
    if error is None:
        try:
            error = msgspec.json.decode(kept.body, type=_Refusal).error
        except UNREADABLE:
            error = {"code": kept.code, "message": "The error's details are not kept."}
    if how is not Samples.FULL:
        error = without_values(error)
    return msgspec.json.encode(error, enc_hook=str).decode()
