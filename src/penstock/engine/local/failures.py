"""The errors callers get when a worker, not their call, is the trouble. Texts live here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core.errors import (
    DeadlineExceeded,
    LoadFailed,
    NotReady,
    Overloaded,
    ResultTooLarge,
    WorkerDied,
)
from penstock.engine.base import Call, VersionKey
from penstock.engine.local.begun import Place
from penstock.engine.local.exits import Exit

#: How many of the last log lines an error carries.
LOG_LINES = 50

#: What an error has besides facts.
_OWN = frozenset({"message", "stage", "function", "type", "hint", "traceback"})

_HINTS = {
    "SIGKILL": "It was killed from outside, most often because the machine ran out of memory.",
    "SIGSEGV": "C code crashed. A pickle made by another version of Python or of a library does "
    "this; make the files again with the server's versions.",
    "SIGBUS": "C code read memory that is gone, such as a file shortened while it was mapped.",
    "SIGABRT": "A C library gave up; the last log lines say why.",
    "SIGILL": "A library was built for another processor.",
    "SIGTERM": "It was told to end from outside.",
}
_LARGER = "Deploy with a larger memory=, or without a limit."
_MEMORY = "Send less at once, or deploy with a larger memory=."
_EXITED = "Code of the flow ended the process (sys.exit or os._exit); raise an exception instead."


def _how(end: Exit | None) -> str:
    return str(end) if end is not None else "unknown reason"


def _hint(end: Exit | None) -> str | None:
    if end is None:
        return None
    return _HINTS.get(end.signal) if end.signal else _EXITED


def _facts(end: Exit | None) -> dict[str, Any]:
    if end is None:
        return {}
    return {"signal": end.signal} if end.signal else {"exit_code": end.code}


def load_failed(key: VersionKey, said: Mapping[str, Any], lines: list[str]) -> LoadFailed:
    """Return the error for a worker that said why it cannot load; it may have said anything."""
    stage, facts = said.get("stage"), said.get("facts")
    kept = (
        {k: v for k, v in facts.items() if isinstance(k, str) and k not in _OWN}
        if isinstance(facts, dict)
        else {}
    )
    return LoadFailed(
        str(said.get("message") or f"{key} could not be loaded."),
        stage=stage if isinstance(stage, int) else None,
        function=_text(said.get("function")),
        type=_text(said.get("type")),
        hint=_text(said.get("hint")),
        traceback=_text(said.get("traceback")),
        **{**kept, "cause": _text(said.get("code")), "logs": lines[-LOG_LINES:]},
    )


def _text(said: object) -> str | None:
    return said if isinstance(said, str) else None


def died_loading(
    key: VersionKey,
    end: Exit | None,
    because: str,
    lines: list[str],
) -> LoadFailed:
    """Return the error for a worker that died, or was killed, before it was ready."""
    reason = because or f"its process died ({_how(end)})"
    return LoadFailed(
        f"{key} could not be loaded: {reason}.",
        hint=(_LARGER if "memory" in because else None) if because else _hint(end),
        **_facts(end),
        logs=lines[-LOG_LINES:],
    )


def worker_died(
    key: VersionKey,
    call: Call,
    end: Exit | None,
    because: str,
    place: Place,
) -> WorkerDied:
    """Return the error for a call that was inside a worker when it died.

    It is `retryable`: nothing of it was kept, and the next worker is there at once. A call that was
    handed over and not begun never gets it; the next worker does that call.
    """
    reason = f"was killed because {because}" if because else f"died ({_how(end)})"
    hint = (_MEMORY if "memory" in because else None) if because else _hint(end)
    return WorkerDied(
        f"The worker of {key} {reason} while it held run {call.run_id}.",
        stage=place.stage or None,
        function=place.part or None,
        hint=hint,
        **_facts(end),
        retryable=True,
    )


def overdue(key: VersionKey, call: Call, place: Place | None) -> DeadlineExceeded:
    """Return the error for a call over its time limit; `place` is None when it still waited."""
    limit = max(0.0, (call.deadline_ns - call.arrived_ns) / 1e9)
    said = f"Run {call.run_id} of {key} did not finish within {limit:g} s; time ran out"
    if place is None:
        return DeadlineExceeded(
            f"{said} while it waited for a free replica.",
            hint="Deploy with more replicas, or with a longer time limit.",
        )
    return DeadlineExceeded(
        f"{said} inside the worker.",
        stage=place.stage or None,
        function=place.part or None,
        hint="Make it faster, or give it more time with timeout_s.",
    )


def result_too_large(key: VersionKey, call: Call, size: int, limit: int) -> ResultTooLarge:
    """Return the error for an answer that is larger than the server passes on."""
    return ResultTooLarge(
        f"The answer of run {call.run_id} of {key} has {size} bytes; the server passes on {limit}.",
        hint="Return less, hand out a file with upload(), or raise the server's setting "
        "max_result_bytes.",
        limit_bytes=limit,
        size_bytes=size,
    )


def queue_full(key: VersionKey, held: int, retry_after_s: float) -> Overloaded:
    """Return the error for a call there is no room for."""
    return Overloaded(
        f"{key} has {held} calls waiting and takes no more just now.",
        hint=f"Try again in {retry_after_s:g} s, or deploy with more replicas.",
        retry_after_s=retry_after_s,
    )


def stopping(key: VersionKey) -> NotReady:
    """Return the error for a call to a version that is being stopped."""
    return NotReady(f"{key} is being stopped.", hint="Try again.", retry_after_s=1)


def not_handed(key: VersionKey, call: Call, error: OSError) -> Overloaded:
    """Return the error for a call whose body could not be handed to a worker."""
    return Overloaded(
        f"Run {call.run_id} could not be handed to a worker of {key}: {error.strerror}.",
        hint="Try again, or raise the limit of open files of the server process.",
        retry_after_s=1,
    )


def no_room(error: OSError) -> Overloaded:
    """Return the error for a call whose large answer could not be passed on."""
    return Overloaded(
        f"The server has no room for a large answer just now: {error.strerror}.",
        hint="Try again, or raise the limit of open files of the server process.",
        retry_after_s=1,
    )


def not_woken(key: VersionKey, error: Exception) -> NotReady:
    """Return the error for the calls that wait for a version that could not be woken."""
    return NotReady(
        f"{key} could not be woken: {type(error).__name__}: {error}.",
        hint="Try again; the server's log has the details.",
        retry_after_s=1,
    )


def crash_looping(
    key: VersionKey, times: int, reason: str, wait_s: float, lines: list[str]
) -> NotReady:
    """Return the error for calls to a version whose workers keep dying."""
    return NotReady(
        f"No replica of {key} is running: {times} in a row failed, the last because {reason}",
        hint=f"The next try is in {wait_s:g} s. Deploy a version that loads, or roll back.",
        retry_after_s=wait_s,
        logs=lines[-LOG_LINES:],
    )
