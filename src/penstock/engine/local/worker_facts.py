"""What a worker says of itself for people to see: not believed, so bounded in size and shape.

`talk` reads every message, `replica` joins what later ones add. Pages and routes show the facts as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.codec.light import MOST_BYTES, UNREADABLE, is_light
from penstock.core.errors import FrameError

_FACTS = msgspec.json.Decoder(dict[str, Any])


def read(told: bytes) -> dict[str, Any]:
    """Return facts, or an error, that a worker sent.

    Raises:
        FrameError: It is too much, cannot be read, or is of another shape than pages expect.
    """
    if not is_light(told):
        raise FrameError(f"Facts of {len(told)} bytes come.")
    try:
        facts = _FACTS.decode(told)
    except UNREADABLE:
        raise FrameError("Facts come that cannot be read.") from None
    _check(facts)
    return facts


def _check(facts: Mapping[str, Any]) -> None:
    if len(msgspec.json.encode(facts)) > MOST_BYTES:
        raise FrameError("Facts come that are too many together.")
    stages = facts.get("stages", [])
    if not isinstance(stages, list) or not all(map(_is_stage, stages)):
        raise FrameError("Facts of stages come that are none.")


def joined(known: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a worker with what it told now.

    Raises:
        FrameError: It is too much.
    """
    facts = {**known, **told}
    _check(facts)
    return facts


def _is_stage(facts: Any) -> bool:
    return (
        isinstance(facts, dict)
        and isinstance(facts.get("stage", 0), int)
        and isinstance(facts.get("batching") or {}, dict)
        and isinstance(facts.get("functions", []), list)
        and isinstance(facts.get("inputs") or [], list)
        and all(map(_is_input, facts.get("inputs") or []))
    )


def _is_input(spec: Any) -> bool:
    return isinstance(spec, dict) and isinstance(spec.get("shape") or [], list)
