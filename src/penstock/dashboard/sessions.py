"""Who is signed in to the pages: random tokens in a cookie, kept in this process only.

A session remembers the id of a key, never the key. It ends when the key is revoked, after
`SESSION_S` seconds, or when the server stops. Used by `penstock.dashboard.pages`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from penstock.control.keys import Keys
from penstock.core.errors import BodyTooLarge, Forbidden
from penstock.core.records import INCLUDED_SCOPES, KeyRecord, Scope

COOKIE = "penstock_session"
SESSION_S = 12 * 3600.0

#: Most sessions at a time; the oldest goes first.
MOST_SESSIONS = 10_000

#: Largest form (bytes).
FORM_LIMIT = 8 * 1024


class _Session(NamedTuple):
    key_id: str
    ends_at: float


class Sessions:
    """The sessions of this process.

    Args:
        keys: Says whose key it is and whether it is still good.
        now: Seconds since the epoch.
    """

    def __init__(self, keys: Keys, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._now = now
        self._by_digest: dict[bytes, _Session] = {}

    def sign_in(self, key: str, response: Response, *, secure: bool) -> None:
        """Begin a session for a key and put its cookie on `response`.

        Raises:
            Unauthorized: The key is unknown or revoked.
            Forbidden: The key may not read.
        """
        record = self._keys.check(key.strip().encode("utf-8", "replace"))
        if Scope.READ not in INCLUDED_SCOPES[record.scope]:
            raise Forbidden("This key may predict only. Use a read, deploy or admin key.")
        while len(self._by_digest) >= MOST_SESSIONS:
            del self._by_digest[next(iter(self._by_digest))]
        token = secrets.token_urlsafe(32)
        self._by_digest[_digest(token)] = _Session(record.key_id, self._now() + SESSION_S)
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(SESSION_S),
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )

    async def key_of(self, request: Request) -> KeyRecord | None:
        """Return the key of a signed-in request, or None; a revoked or expired key has none."""
        token = request.cookies.get(COOKIE)
        session = self._by_digest.get(_digest(token)) if token else None
        if session is None or session.ends_at < self._now():
            return None
        return self._keys.by_id(session.key_id)

    def sign_out(self, request: Request, response: Response) -> None:
        """End the request's session, if it has one."""
        token = request.cookies.get(COOKIE)
        if token:
            self._by_digest.pop(_digest(token), None)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def check_same_origin(request: Request) -> None:
    """Refuse a form that another site made a browser send.

    Raises:
        Forbidden: The browser says that the form is from elsewhere.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site not in {None, "same-origin", "none"}
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        foreign = True
    if foreign:
        raise Forbidden("This form was sent from another site.", hint="Open the page itself.")


async def read_form(request: Request) -> bytes:
    """Return the body of a form. Raises `BodyTooLarge` beyond `FORM_LIMIT` bytes."""
    taken = bytearray()
    async for chunk in request.stream():
        taken += chunk
        if len(taken) > FORM_LIMIT:
            raise BodyTooLarge(f"The form has more than {FORM_LIMIT} bytes.")
    return bytes(taken)
