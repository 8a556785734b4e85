"""What a worker says of itself for people to see: not believed, so bounded in size and shape.

`talk` checks every message, `replica` joins what later ones add. Pages and routes show the facts as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.core.errors import FrameError

#: Largest facts of one worker, in bytes of JSON.
LIMIT = 1024 * 1024


def check(facts: Mapping[str, Any]) -> None:
    """Check facts that a worker sent.

    Raises:
        FrameError: They are too many, cannot be shown, or are of another shape than pages expect.
    """
    try:
        size = len(msgspec.json.encode(facts))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        raise FrameError("Facts come that cannot be shown.") from None
    if size > LIMIT:
        raise FrameError(f"Facts of {size} bytes come.")
    stages = facts.get("stages", [])
    if not isinstance(stages, list) or not all(map(_is_stage, stages)):
        raise FrameError("Facts of stages come that are none.")


def joined(known: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a worker with what it told now.

    Raises:
        FrameError: It is too much.
    """
    facts = {**known, **told}
    check(facts)
    return facts


def _is_stage(facts: Any) -> bool:
    return (
        isinstance(facts, dict)
        and isinstance(facts.get("stage", 0), int)
        and isinstance(facts.get("batching") or {}, dict)
    )
