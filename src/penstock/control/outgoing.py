"""The only HTTP client of the server process: posts to addresses that callers chose.

`webhooks` calls `Outgoing.post`. A host name is looked up once per attempt, every address it has
is checked, and the connection goes to a checked address with the name kept for `Host` and TLS, so
a name that changes its mind between check and connection gains nothing. No redirects, no proxies
from the environment, no connection used twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.control.addresses import Address, Allowance
from penstock.control.webhook_urls import WebhookUrl

if TYPE_CHECKING:
    import ssl

    import httpx2

#: Returns the addresses of (host, port) in the order to try them; raises `OSError`.
LookUp = Callable[[str, int], Awaitable[Sequence[str]]]

#: Addresses of one name that are tried in one attempt.
_TRIES = 3


class Outcome(NamedTuple):
    """What became of one attempt.

    Attributes:
        status: HTTP status of the answer; None if none came.
        error: Why there is none, as a sentence; empty if one came.
        took_ms: Milliseconds from look-up to answer.
    """

    status: int | None
    error: str
    took_ms: float


class NotAllowed(Exception):
    """A name leads to an address the server does not call."""


class Outgoing:
    """Posts to receivers. Made once; every method runs on the event loop.

    Args:
        allowed: What the operator allows beyond public addresses.
        timeout_s: Seconds an attempt may take in all.
        look_up: Resolves host names; the system's resolver by default.
        transport: Connects and speaks HTTP to an address; the real one by default.
        tls: Which certificates are believed; the system's authorities by default.
    """

    def __init__(
        self,
        allowed: Allowance,
        *,
        timeout_s: float = 10.0,
        look_up: LookUp | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._look_up = look_up or system_look_up
        self._transport = transport
        self._tls = tls

    async def post(self, url: WebhookUrl, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Post a body once. Whatever goes wrong is in the outcome; nothing is raised."""
        import httpx2

        transport = await self._open_transport()
        begun = time.monotonic()
        try:
            posting = self._post(transport, url, headers, body)
            status = await asyncio.wait_for(posting, self._timeout_s)
        except (asyncio.TimeoutError, httpx2.TimeoutException):
            return _failed(f"{url.host} did not answer within {self._timeout_s:g} s.", begun)
        except NotAllowed as error:
            return _failed(str(error), begun)
        except OSError as error:
            reason = error.strerror or str(error)
            return _failed(f"{url.host} could not be looked up: {reason}.", begun)
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            return _failed(f"{url.host} could not be reached: {reason}.", begun)
        return Outcome(status, "", (time.monotonic() - begun) * 1e3)

    async def _post(
        self,
        transport: httpx2.AsyncBaseTransport,
        url: WebhookUrl,
        headers: Mapping[str, str],
        body: bytes,
    ) -> int:
        import httpx2

        first, *others = (await self._addresses(url))[:_TRIES]
        try:
            return await self._post_to(transport, first, url, headers, body)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            problem = error
        for address in others:
            with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._post_to(transport, address, url, headers, body)
        raise problem

    async def _addresses(self, url: WebhookUrl) -> list[Address]:
        """Return the addresses of the receiver, all of them checked; the only look-up."""
        if url.address is not None:
            found = [url.address]
        else:
            texts = await self._look_up(url.host, url.port)
            found = [ipaddress.ip_address(text) for text in texts]
        if not found:
            raise NotAllowed(f"{url.host} has no address.")
        for address in found:
            if not self._allowed.admits(url.host, address, url.port):
                raise NotAllowed(
                    f"{url.host} leads to {address} port {url.port}, which this server does not "
                    "call; the setting webhook_allow names what it calls besides public addresses."
                )
        return found

    async def _post_to(
        self,
        transport: httpx2.AsyncBaseTransport,
        address: Address,
        url: WebhookUrl,
        headers: Mapping[str, str],
        body: bytes,
    ) -> int:
        import httpx2

        split = max(1.0, self._timeout_s / 2)
        timeout = {"connect": split, "read": self._timeout_s, "write": self._timeout_s}
        extensions: dict[str, Any] = {"timeout": {**timeout, "pool": None}}
        if url.scheme == "https" and url.address is None:
            extensions["sni_hostname"] = url.host
        request = httpx2.Request(
            "POST",
            httpx2.URL(
                scheme=url.scheme,
                host=str(address),
                port=url.port,
                raw_path=url.path.encode("ascii"),
            ),
            headers={"Host": url.authority, **headers, "Connection": "close"},
            content=body,
            extensions=extensions,
        )
        response = await transport.handle_async_request(request)
        # The status is all that matters: an answer's body is never read, however long it is.
        await response.aclose()
        return response.status_code

    async def _open_transport(self) -> httpx2.AsyncBaseTransport:
        if self._transport is None:
            # Reading the certificates takes a while, and most servers never send a webhook.
            made = await asyncio.to_thread(_real_transport, self._tls)
            if self._transport is None:
                self._transport = made
        return self._transport

    async def close(self) -> None:
        """Close what is open."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None


def _real_transport(tls: ssl.SSLContext | None) -> httpx2.AsyncBaseTransport:
    import httpx2

    # A kept connection would be shared by all names of one address, whoever was verified first.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx2.AsyncHTTPTransport(verify=tls or True, limits=limits)


def _failed(error: str, begun: float) -> Outcome:
    return Outcome(None, error, (time.monotonic() - begun) * 1e3)


async def system_look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host name, as the system's resolver orders them.

    Each look-up has a thread of its own: a name server that does not answer must not take the
    threads that other names, or the server's files, need. Raises `OSError`.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str], error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found)

    def work() -> None:
        found: list[str] = []
        problem: OSError | None = None
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except (OSError, UnicodeError) as error:
            problem = error if isinstance(error, OSError) else OSError(str(error))
        try:
            loop.call_soon_threadsafe(settle, found, problem)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name="penstock-look-up", daemon=True).start()
    return await answer
