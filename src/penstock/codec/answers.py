"""Answers in other forms than the usual envelope: npy, Arrow, Open Inference Protocol, bare.

Called by the flow service for calls with one of the flags in `OTHER_FORMS`.
"""

from __future__ import annotations

from typing import Any

from penstock.codec.arrow import write_arrow
from penstock.codec.frames import (
    ACCEPT_ARROW,
    ACCEPT_NPY,
    BARE_RESULT,
    INFER,
    MEDIA_ARROW,
    MEDIA_JSON,
    MEDIA_NPY,
    MEDIA_OIP,
)
from penstock.codec.npy import result_array, write_npy
from penstock.codec.results import encode_json

#: Flags of calls that may be answered with something else than the envelope.
OTHER_FORMS = ACCEPT_NPY | ACCEPT_ARROW | BARE_RESULT | INFER


def other_form(flags: int, form: Any, value: Any, run_id: str) -> tuple[int, bytes] | None:
    """Return media and body of a result in the form the caller asked for.

    Args:
        flags: Of the call.
        form: What the request's own body says about its answer (`oip.InferForm`), or None.
        value: The result.
        run_id: The run's id.

    Returns:
        None when the result has no such form, and the usual envelope is to be sent.

    Raises:
        ResultNotSerialisable: The result has no form at all.
        InputMismatch: An output was asked for that the flow does not give.
    """
    if form is not None:
        return _infer_answer(form, value, run_id)
    if flags & ACCEPT_NPY:
        array = result_array(value)
        if array is not None:
            return MEDIA_NPY, write_npy(array)
    if flags & ACCEPT_ARROW:
        table = write_arrow(value)
        if table is not None:
            return MEDIA_ARROW, table
    return (MEDIA_JSON, encode_json(value)) if flags & BARE_RESULT else None


def _infer_answer(form: Any, value: Any, run_id: str) -> tuple[int, bytes]:
    from penstock.codec.oip import write_infer

    head, binary = write_infer(form, value, run_id)
    if binary is None:
        return MEDIA_JSON, head
    return MEDIA_OIP, b"".join((len(head).to_bytes(4, "little"), head, binary))
