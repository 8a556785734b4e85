"""What the settings say of connections and browsers; called by `assembly` and `server_process`."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from penstock.server.gateway.limits import Limits
from penstock.server.hosts import is_loopback, names_in
from penstock.server.settings import Settings
from penstock.server.web_guard import WebOptions, origins_of


def gateway_limits(settings: Settings) -> Limits:
    """Return what the gateway accepts from a connection."""
    return Limits(
        head_bytes=settings.max_header_bytes,
        head_fields=settings.max_header_fields,
        address_bytes=settings.max_address_bytes,
        head_s=settings.header_timeout_s,
        body_s=settings.body_timeout_s,
        idle_s=settings.idle_timeout_s,
        stall_s=settings.unread_timeout_s,
        connections_per_address=settings.max_connections_per_address,
        hosts=names_in(settings.allowed_hosts),
        cors=bool(settings.cors_origins),
        parts=settings.max_parts,
    )


def web_options(settings: Settings, url: str) -> WebOptions:
    """Return what is said of browsers: pages have the server's own names, if it has any."""
    hosts = names_in(settings.allowed_hosts)
    if not hosts and is_loopback(settings.host):
        hosts = names_in(f"{urlsplit(url).netloc},{socket.gethostname()}")
    origins = origins_of(settings.cors_origins)
    return WebOptions(hosts, origins, https=url.startswith("https:"))
