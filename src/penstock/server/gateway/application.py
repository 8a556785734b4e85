"""The Starlette app behind the gateway: uvicorn's protocol, fed one request at a time.

The gateway owns the connection. For a request that is not a predict call to a known path it feeds
the request's bytes to an `AppProtocol`, whose answers go out through an `AppTransport`. Limits,
deadlines, order and the life of the connection stay with the gateway, so they hold for both.
`app_request.AppSide` joins the two.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_INFORMATIONAL = b"HTTP/1.1 100"


class AppOwner(Protocol):
    """What the app's protocol and transport report to."""

    def wrote(self) -> None:
        """The app began, or went on, to answer."""

    def answered(self) -> None:
        """The answer is complete and the connection may be kept."""

    def closes(self) -> None:
        """The answer is complete or broken off, and the connection must not be kept."""

    def malformed(self) -> None:
        """The request cannot be parsed."""

    def reads(self, wanted: bool) -> None:
        """The app can, or cannot, take more of the body."""


class AppTransport(asyncio.Transport):
    """The transport an `AppProtocol` sees: writes pass, everything else is asked of the owner."""

    def __init__(self, transport: asyncio.Transport, owner: AppOwner) -> None:
        super().__init__()
        self._transport = transport
        self._owner = owner
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a part of the answer."""
        if self.is_closing():
            return
        if bytes(data[: len(_INFORMATIONAL)]) != _INFORMATIONAL:
            self._owner.wrote()
        self._transport.write(data)

    def close(self) -> None:
        """Tell the owner that the connection is not to be kept."""
        if not self._closing:
            self._closing = True
            self._owner.closes()

    def silence(self) -> None:
        """Drop whatever the app still writes."""
        self._closing = True

    def is_closing(self) -> bool:
        """Whether the connection is at its end."""
        return self._closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Stop the body: the app has enough."""
        self._owner.reads(False)

    def resume_reading(self) -> None:
        """Let the body come again."""
        self._owner.reads(True)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact of the real transport."""
        return self._transport.get_extra_info(name, default)


class AppProtocol(HttpToolsProtocol):
    """uvicorn's protocol without its own idea of when a connection ends.

    Args:
        config: A loaded uvicorn configuration with the app.
        state: Shared by all connections; its `default_headers` hold the date.
        owner: What it reports to.
    """

    def __init__(self, config: Config, state: ServerState, owner: AppOwner) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._owner = owner

    def on_response_complete(self) -> None:
        """Tell the owner; keep-alive time is the owner's business."""
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        if not self.transport.is_closing():
            self._owner.answered()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the owner has its own words
        """Let the owner refuse the request."""
        self._owner.malformed()


def app_config(app: Any) -> Config:
    """Return the uvicorn configuration that runs `app` behind the gateway, loaded."""
    config = Config(
        app,
        interface="asgi3",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    config.load()
    return config
