"""Errors as callers see them who may not see user code's tracebacks.

Workers always tell the traceback, because it is kept with the run, and with a version that does not
load; it is taken out of what goes to a key that may not deploy.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.codec.light import UNREADABLE
from penstock.core.errors import FOR_DEPLOYERS
from penstock.engine.base import Answer


class _Refusal(msgspec.Struct):
    error: dict[str, msgspec.Raw]
    run_id: msgspec.Raw = msgspec.Raw(b"null")


def without_traceback(answer: Answer) -> Answer:
    """Return an answer that is an error as keys that may not deploy see it."""
    error = answer.error
    if error is not None:
        error.traceback = None
        for name in FOR_DEPLOYERS & error.facts.keys():
            del error.facts[name]
        return answer
    try:
        told = msgspec.json.decode(answer.body, type=_Refusal)
        changed = told.error.pop("traceback", None) is not None
        changed |= _without_facts(told.error)
    except UNREADABLE:
        return answer  # not of the form that has tracebacks
    if changed:
        answer.body = msgspec.json.encode(told)
    return answer


def _without_facts(error: dict[str, msgspec.Raw]) -> bool:
    """Take out the facts that only keys that may deploy see; return whether there were any."""
    raw = error.get("facts")
    if raw is None:
        return False
    facts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    shown = {name: fact for name, fact in facts.items() if name not in FOR_DEPLOYERS}
    if len(shown) == len(facts):
        return False
    if shown:
        error["facts"] = msgspec.Raw(msgspec.json.encode(shown))
    else:
        del error["facts"]
    return True


def told_to_readers(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the error object of a run or of a version as keys that may not deploy see it."""
    if error is None:
        return None
    return without_values({name: told for name, told in error.items() if name != "traceback"})


def without_values(error: dict[str, Any]) -> dict[str, Any]:
    """Return an error object without what the names on the line that failed held."""
    facts = error.get("facts")
    if not isinstance(facts, dict) or not FOR_DEPLOYERS & facts.keys():
        return error
    shown = {name: fact for name, fact in facts.items() if name not in FOR_DEPLOYERS}
    return {**error, "facts": shown}
