"""Predict requests that are to run later: which they are, and the 202 they get.

Used by the gateway's protocol and by the Starlette predict route, so that both answer alike. A
request asks for it by `?async=true`, by `Prefer: respond-async`, or by `webhook_endpoint` in its
body; the first two never come to the protocol's own predict path.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from penstock.codec import memfile
from penstock.codec.json_bodies import is_json
from penstock.codec.webhook_field import FIELD, LONGEST, find_webhook, mentions_webhook
from penstock.control.predict import Body, Route
from penstock.control.run_payloads import discard
from penstock.control.runs import Accepted, Runs, Submission
from penstock.core.errors import InvalidSetting
from penstock.core.records import KeyRecord
from penstock.core.states import TERMINAL_RUN_STATES
from penstock.server.gateway.respond import RUN_ID_FIELD, Rendered

__all__ = [
    "Ask",
    "RunDesk",
    "ask_of",
    "discard",
    "may_name_webhook",
    "webhook_of",
    "worth_a_look",
]

#: Bodies over this many bytes are searched in a thread.
_LARGE = 1024 * 1024

#: Bytes of a large body that are searched at a time.
_PIECE = 256 * 1024

#: Bodies up to this many bytes are searched before their media type is looked at.
SMALL_BYTES = 4096

_YES = frozenset({"true", "1", "yes", ""})
_NO = frozenset({"false", "0", "no"})


@dataclass(frozen=True)
class Ask:
    """What a request says about running later."""

    later: bool = False
    priority: int = 0
    timeout_s: float | None = None
    idempotency_key: str | None = None


class AcceptedAnswer(msgspec.Struct, frozen=True):
    """The body of a 202, or of a 200 when the run came before and is at its end."""

    run_id: str
    state: str
    message: str


def ask_of(query: Mapping[str, str], headers: Mapping[str, str]) -> Ask:
    """Return what a request's query and header fields ask for.

    Raises:
        InvalidSetting: A number is none, or `async` is neither yes nor no.
    """
    wish = query.get("async", "false").lower()
    if wish not in _YES | _NO:
        raise InvalidSetting(f"The query has async={wish[:40]!r}; it must be true or false.")
    preferred = [part.strip().lower() for part in headers.get("prefer", "").split(",")]
    return Ask(
        wish in _YES or "respond-async" in preferred,
        int(_number(query, "priority") or 0),
        _number(query, "timeout_s"),
        headers.get("idempotency-key"),
    )


def _number(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return float(text) if name == "timeout_s" else int(text)
    except ValueError:
        raise InvalidSetting(f"The query has {name}={text[:40]!r}, which is no number.") from None


@lru_cache(maxsize=256)
def may_name_webhook(media_type: bytes) -> bool:
    """Whether a body of this type is JSON or multipart, which may hold the field."""
    kind = media_type.partition(b";")[0].strip().lower()
    return is_json(kind.decode("latin-1")) or kind.startswith(b"multipart/")


def worth_a_look(media_type: bytes, body: Body) -> bool:
    """Whether a body may name a webhook: all that the hot path does about it."""
    data = body.data
    if data is not None and len(data) <= SMALL_BYTES:
        return FIELD in data
    return may_name_webhook(media_type) and (data is None or FIELD in data)


def _mentions_webhook(media_type: bytes, body: Body) -> bool:
    """Whether the word is anywhere in the body."""
    if body.data is not None:
        return mentions_webhook(media_type, body.data)
    # In pieces, so that a thread that searches lets the event loop have its turn.
    return any(
        mentions_webhook(media_type, os.pread(body.fd, _PIECE + LONGEST - 1, start))
        for start in range(0, body.size, _PIECE)
    )


class RunDesk:
    """Takes predict requests as runs.

    Args:
        runs: The use cases.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def webhook(self, media_type: bytes, body: Body) -> str | None:
        """Return the webhook that a body names, or None; the body stays as it is."""
        if body.data is None and body.size > _LARGE:
            return await asyncio.to_thread(webhook_of, media_type, body)
        return webhook_of(media_type, body)

    async def accept(
        self,
        route: Route,
        record: KeyRecord,
        media_type: bytes,
        body: Body,
        ask: Ask,
        webhook_url: str | None,
        trace: bytes = b"",
    ) -> Rendered:
        """Make a request a run and return the 202. The body now belongs to the runs.

        `trace` is the request's `traceparent`, maybe empty.

        Raises:
            PenstockError: It was not accepted.
        """
        accepted = await self._runs.submit(
            Submission(
                route.project,
                route.deployment,
                record.key_id,
                media_type.decode("latin-1"),
                body,
                ask.priority,
                ask.timeout_s,
                webhook_url,
                ask.idempotency_key,
                trace.decode("latin-1"),
            )
        )
        return _rendered(route.project, accepted)


def webhook_of(media_type: bytes, body: Body) -> str | None:
    """Return the webhook that a body names, or None."""
    if not _mentions_webhook(media_type, body):
        return None
    kind, data = media_type.decode("latin-1"), body.data
    if data is not None:
        return find_webhook(kind, data)
    return find_webhook(kind, memfile.read(body.fd, body.size, trusted=True))


def _rendered(project: str, accepted: Accepted) -> Rendered:
    run_id, state = accepted
    where = f"/v1/{project}/runs/{run_id}"
    ended = state in TERMINAL_RUN_STATES
    message = f"The run is {state.value}; GET {where} tells how it stands, ?wait=30 waits for it."
    body = msgspec.json.encode(AcceptedAnswer(run_id, state.value, message))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (RUN_ID_FIELD, run_id.encode("ascii")),
        (b"location", where.encode("ascii")),
    ]
    return Rendered(200 if ended else 202, headers, body)
