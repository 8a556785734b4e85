"""Errors as callers see them who may not see user code's tracebacks.

Workers always tell the traceback, because it is kept with the run; `predict` takes it out of what
goes to a key that may not deploy.
"""

from __future__ import annotations

import msgspec

from penstock.engine.base import Answer


class _Refusal(msgspec.Struct):
    error: dict[str, msgspec.Raw]
    run_id: msgspec.Raw = msgspec.Raw(b"null")


def without_traceback(answer: Answer) -> Answer:
    """Return an answer that is an error as keys that may not deploy see it."""
    error = answer.error
    if error is not None:
        if error.traceback is not None:
            error.traceback = None
        return answer
    try:
        told = msgspec.json.decode(answer.body, type=_Refusal)
    except msgspec.MsgspecError:
        return answer  # not of the form that has tracebacks
    if told.error.pop("traceback", None) is not None:
        answer.body = msgspec.json.encode(told)
    return answer
