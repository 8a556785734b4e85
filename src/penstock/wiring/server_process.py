"""The server process from its first to its last line: start, announce, serve, drain, end.

`penstock.cli.serve` calls `serve_forever`. The first SIGTERM or SIGINT lets calls in hand finish;
a second one ends everything at once. Workers never outlive this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from penstock.codec.multipart import limit_parts
from penstock.core.errors import InvalidSetting, PenstockError
from penstock.server.gateway.forward_desk import ForwardedRuns
from penstock.server.gateway.listen import Gateway, create_server
from penstock.server.load_settings import SettingDoc, describe_settings, load_settings
from penstock.server.settings import Settings
from penstock.wiring import pickle_guard
from penstock.wiring.assembly import build_house, open_database
from penstock.wiring.data_folder import DataFolder
from penstock.wiring.event_loop import run_loop
from penstock.wiring.gateway_child import GatewayNeeds
from penstock.wiring.gateway_group import BACKLOG, GatewayGroup, share_port
from penstock.wiring.house import House
from penstock.wiring.log_format import log_to_standard_error
from penstock.wiring.tls import reload, tls_context
from penstock.wiring.web_parts import gateway_limits

#: The two about settings are for the command line, which knows no other part of the server.
__all__ = [
    "Announcement",
    "ServerProcess",
    "SettingDoc",
    "bind",
    "describe_settings",
    "serve_forever",
    "url_of",
]

log = logging.getLogger("penstock.server")

#: Seconds that ending at once may take before the process ends without ceremony.
LAST_S = 3.0


@dataclass(frozen=True)
class Announcement:
    """What there is to tell once the server listens.

    Attributes:
        url: Address that clients reach the server by.
        data_dir: The data folder.
        project: Project of the fresh keys.
        fresh_keys: Keys made at the first start, by scope; shown this once.
    """

    url: str
    data_dir: Path
    project: str
    fresh_keys: Mapping[str, str] = field(default_factory=dict, repr=False)


Announce = Callable[[Announcement], None]


def serve_forever(arguments: Mapping[str, object], announce: Announce) -> int:
    """Run a server until it is told to stop; return the exit status.

    Args:
        arguments: Options by name, None for those not given; see `server.settings`.
        announce: Called once, when the server listens.

    Raises:
        PenstockError: The server cannot start; the message says why and what to do.
    """
    settings = load_settings(arguments)
    log_to_standard_error(settings.log_level, settings.log_format)
    pickle_guard.install()
    limit_parts(settings.max_parts)  # what its workers read, it must read, too
    with DataFolder(settings.data_dir) as folder:
        run_loop(_serve(settings, folder, announce))
    return 0


async def _serve(settings: Settings, folder: DataFolder, announce: Announce) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    _watch_signals(stop, hurry)
    tls = tls_context(settings)
    if tls is not None:
        renew = partial(reload, tls, settings)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, renew)
    listener = bind(settings.host, settings.port)
    url = settings.public_url.rstrip("/") or url_of(listener, tls)
    server = await ServerProcess.start(settings, folder, listener, url, tls)
    try:
        announce(server.announcement)
        await stop.wait()
        log.info("Stopping: calls in hand get %g s.", settings.drain_s)
    finally:
        await _end(server, settings.drain_s, hurry)


def _watch_signals(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)


async def _end(server: ServerProcess, drain_s: float, hurry: asyncio.Event) -> None:
    draining = asyncio.ensure_future(server.stop(drain_s))
    hurrying = asyncio.ensure_future(hurry.wait())
    await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not draining.done():
        log.warning("Stopping at once.")
        draining.cancel()
        await asyncio.wait({draining})
        with contextlib.suppress(asyncio.TimeoutError):  # the kernel ends workers with us
            await asyncio.wait_for(server.house.engine.close(0.0), LAST_S)
        return
    await draining


class ServerProcess:
    """A running server. Made by `start`, ended by `stop`.

    Attributes:
        house: The joined parts.
        announcement: What there is to tell.
    """

    def __init__(
        self,
        house: House,
        gateway: Gateway,
        group: GatewayGroup | None,
        announcement: Announcement,
    ) -> None:
        self.house = house
        self.announcement = announcement
        self._gateway = gateway
        self._group = group
        self._aside = [asyncio.create_task(work) for work in house.aside()]

    @classmethod
    async def start(
        cls,
        settings: Settings,
        folder: DataFolder,
        listener: socket.socket,
        url: str,
        tls: ssl.SSLContext | None = None,
    ) -> ServerProcess:
        """Open the stores, begin to start what served before, and listen.

        Raises:
            PenstockError: A store cannot be opened, or the admin key cannot be used.
        """
        database = await open_database(settings, folder)
        try:
            house = await build_house(settings, folder, database, url)
            first = await house.parts.keys.bootstrap(settings.admin_key or None)
            await house.insight.start()
            if first is not None:
                await house.parts.audit.note("first_keys", "keys", 201)
            await house.parts.deployments.restore()
            await house.parts.runs.start()
            house.webhooks.start()
            gateway = await create_server(
                house.predictor,
                house.app,
                limits=gateway_limits(settings),
                sock=listener,
                desk=house.desk,
                tls=tls,
            )
            group = _more_gateways(settings, folder, house, gateway, listener)
        except BaseException:
            await database.close()
            raise
        fresh: dict[str, str] = {}
        if first is not None:
            issued = {"admin": first.admin, "deploy": first.private, "predict": first.public}
            fresh = {scope: key.text for scope, key in issued.items() if key is not None}
        announcement = Announcement(url, folder.root, "default", fresh)
        return cls(house, gateway, group, announcement)

    async def stop(self, drain_s: float) -> None:
        """Accept nothing more, answer calls in hand within `drain_s` seconds, end every worker."""
        for task in self._aside:
            task.cancel()
        begun = time.monotonic()
        self.house.parts.runs.stop_waiting()
        closing = [self._gateway.close(drain_s)]
        if self._group is not None:
            closing.append(self._group.close(drain_s))
        await asyncio.gather(*closing)
        await self.house.close(max(0.0, drain_s - (time.monotonic() - begun)))


def _more_gateways(
    settings: Settings,
    folder: DataFolder,
    house: House,
    gateway: Gateway,
    listener: socket.socket,
) -> GatewayGroup | None:
    """Start the extra gateways that the settings ask for; they accept when they are ready."""
    if settings.gateways < 2:
        return None
    needs = GatewayNeeds(
        house.predictor,
        house.parts.keys,
        gateway,
        gateway_limits(settings),
        ForwardedRuns(gateway.desk).take if gateway.desk is not None else None,
        folder.scratch,
    )
    return GatewayGroup(needs, share_port(listener, settings.gateways - 1))


def bind(host: str, port: int) -> socket.socket:
    """Return a TCP socket bound to `host` and `port` (0: a free one).

    Raises:
        InvalidSetting: The address is in use or is not of this machine.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidSetting(f"{host!r} is not an address to listen on: {error}.") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)  # another server on the port shows here, not later
    except OSError as error:
        listener.close()
        raise _cannot_bind(host, port, error) from None
    return listener


def _cannot_bind(host: str, port: int, error: OSError) -> PenstockError:
    if error.errno == errno.EADDRINUSE:
        return InvalidSetting(
            f"Port {port} of {host} is in use, maybe by another Penstock server.",
            hint="Stop it, or choose another port with --port or PENSTOCK_PORT.",
        )
    return InvalidSetting(
        f"The server cannot listen on {host}, port {port}: {error.strerror}.",
        hint="Choose another address with --host and --port.",
    )


def url_of(listener: socket.socket, tls: ssl.SSLContext | None = None) -> str:
    """Return the address of a bound socket as a URL that works on this machine."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    scheme = "https" if tls is not None else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
