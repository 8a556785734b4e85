"""The body that a webhook receives: the run as `GET /v1/<project>/runs/<run_id>` shows it, flat.

`type`, `timestamp` and `status_code` come in addition. Results are copied as they are, never
decoded: whatever JSON the worker wrote arrives.
"""

from __future__ import annotations

import datetime

import msgspec

#: Largest body sent along; a larger one is fetched by the receiver at `result_url`.
DEFAULT_LIMIT = 1024 * 1024

_MESSAGES = {
    "succeeded": "The run succeeded.",
    "failed": "The run failed.",
    "cancelled": "The run was cancelled.",
}

_Fields = dict[str, msgspec.Raw]


def event_body(
    run: bytes,
    at: float,
    status_code: int,
    run_url: str,
    limit: int = DEFAULT_LIMIT,
    *,
    has_result: bool = True,
) -> bytes:
    """Return the body of a webhook as JSON.

    Args:
        run: The answer of `GET` on the run: a JSON object with `state` and `run_id`.
        at: When the run ended, seconds since the epoch.
        status_code: What a synchronous call would have been answered with.
        run_url: Address of the run, for results that are not sent along.
        limit: Largest body in bytes.
        has_result: False if the result was too large to be put into `run`.
    """
    fields = msgspec.json.decode(run, type=_Fields)
    state = msgspec.json.decode(fields["state"], type=str)
    event = {
        "type": f"run.{state}",
        "timestamp": _timestamp(at),
        "message": _message(state, fields),
        "status_code": status_code,
    }
    whole = msgspec.json.encode({**event, **fields})
    if has_result and len(whole) <= limit:
        return whole
    for name in ("result", "prediction_ids"):
        fields.pop(name, None)
    event["message"] = f"{event['message']} It has more than {limit} bytes: get it at result_url."
    return msgspec.json.encode({**event, **fields, "result_url": run_url})


def _timestamp(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, tz=datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(state: str, fields: _Fields) -> str:
    """Return one sentence about the end; for a failed run the error's own."""
    if state == "failed" and "error" in fields:
        error = msgspec.json.decode(fields["error"])
        if isinstance(error, dict) and error.get("message"):
            return str(error["message"])
    return _MESSAGES.get(state, f"The run is {state}.")
