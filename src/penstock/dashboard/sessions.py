"""Who is signed in to the pages: a signed cookie that names a key, and never holds it.

The cookie is `<key id>.<when it ends>.<random>.<signature>`. It ends with its time, when its key is
revoked, or when it is signed out of. `csrf_of` gives the word that every form of a session has to
repeat. Used by `penstock.dashboard.site`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from penstock.control.keys import Keys
from penstock.core.errors import BodyTooLarge, Forbidden
from penstock.core.records import INCLUDED_SCOPES, KeyRecord, Scope

COOKIE = "penstock_session"
SESSION_S = 12 * 3600.0
LONG_SESSION_S = 30 * 86400.0

#: Largest form (bytes).
FORM_LIMIT = 256 * 1024


class Ended(Protocol):
    """The sessions that were signed out of, by the text of their cookies without its signature."""

    def __contains__(self, said: str) -> bool:
        """Whether a session was signed out of."""

    def add(self, said: str, ends_at: int) -> None:
        """Remember one, that would have ended at this time (seconds since the epoch)."""


class Sessions:
    """The sessions of this server.

    Args:
        keys: Says whose key it is and whether it is still good.
        secret: Key of the signatures.
        ended: Those that were signed out of.
        now: Seconds since the epoch.
    """

    def __init__(
        self, keys: Keys, secret: bytes, ended: Ended, now: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._secret = hashlib.sha256(b"penstock dashboard\n" + secret).digest()
        self._now = now
        self._ended = ended

    def sign_in(self, key: str, response: Response, *, secure: bool, long: bool = False) -> None:
        """Begin a session for a key and put its cookie on `response`.

        Args:
            key: The key's text.
            response: Gets the cookie.
            secure: Whether the cookie is for HTTPS only.
            long: Whether the session lasts thirty days and outlives the browser.

        Raises:
            Unauthorized: The key is unknown or revoked.
            Forbidden: The key may not read.
        """
        record = self._keys.check(key.strip().encode("utf-8", "replace"))
        if Scope.READ not in INCLUDED_SCOPES[record.scope]:
            raise Forbidden("This key may predict only. Use a read, deploy or admin key.")
        lasts = LONG_SESSION_S if long else SESSION_S
        said = f"{record.key_id}.{int(self._now() + lasts)}.{secrets.token_urlsafe(16)}"
        response.set_cookie(
            COOKIE,
            f"{said}.{self._sign(said)}",
            max_age=int(lasts) if long else None,
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )

    def key_of(self, request: Request) -> KeyRecord | None:
        """Return the key of a signed-in request, or None; a revoked or expired key has none."""
        said, _, signature = request.cookies.get(COOKIE, "").rpartition(".")
        if not said or said in self._ended or not self._is_signed(said, signature):
            return None
        key_id, ends_at, _random = said.split(".", 2)
        if int(ends_at) < self._now():
            return None
        return self._keys.by_id(key_id)

    def sign_out(self, request: Request, response: Response) -> None:
        """End the request's session, if it has one. Raises `StoreError` as `Ended.add` does."""
        said, _, signature = request.cookies.get(COOKIE, "").rpartition(".")
        if said and self._is_signed(said, signature):
            self._ended.add(said, int(said.split(".", 2)[1]))
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    def csrf_of(self, request: Request) -> str:
        """Return the word that the forms of this session carry."""
        return self._sign("csrf " + request.cookies.get(COOKIE, ""))

    def check_csrf(self, request: Request, given: str) -> None:
        """Refuse a form that does not carry the session's word. Raises `Forbidden`."""
        if not hmac.compare_digest(
            self.csrf_of(request).encode(), given.encode("utf-8", "replace")
        ):
            raise Forbidden("This form is out of date.", hint="Load the page again.")

    def _sign(self, said: str) -> str:
        return hmac.new(self._secret, said.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _is_signed(self, said: str, signature: str) -> bool:
        return hmac.compare_digest(self._sign(said).encode(), signature.encode("utf-8", "replace"))


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
