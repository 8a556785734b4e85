"""HTTPS: the certificate and its key, from the server's settings. Called by `server_process`."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from penstock.core.errors import InvalidSetting
from penstock.server.settings import Settings

log = logging.getLogger("penstock.server")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return how connections are encrypted; None where they are not.

    Raises:
        InvalidSetting: One of certificate and key is missing, unreadable, or not of the other.
    """
    if not settings.tls_cert and not settings.tls_key:
        return None
    if not settings.tls_cert or not settings.tls_key:
        missing = "--tls-key" if settings.tls_cert else "--tls-cert"
        raise InvalidSetting(f"HTTPS needs a certificate and its key: {missing} is missing.")
    if settings.gateways > 1:
        raise InvalidSetting(
            "Several gateways do not speak HTTPS themselves.",
            hint="Use one gateway, or let a proxy in front speak HTTPS (docs/how-to/https.md).",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load(context, settings)
    return context


def load(context: ssl.SSLContext, settings: Settings) -> None:
    """Read certificate and key, at the start and whenever they were renewed.

    Raises:
        InvalidSetting: They cannot be used; those read before stay.
    """
    cert, key = Path(settings.tls_cert).expanduser(), Path(settings.tls_key).expanduser()
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except FileNotFoundError:
        gone = key if cert.exists() else cert
        raise InvalidSetting(f"There is no file {gone}.") from None
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting(
            f"The certificate {cert} and the key {key} cannot be used: {error}.",
            hint="Both must be PEM files; the key must be that of the certificate and without a "
            "password.",
        ) from None


def reload(context: ssl.SSLContext, settings: Settings) -> None:
    """Read both again after a renewal; new connections get them. Logs what goes wrong."""
    try:
        load(context, settings)
    except InvalidSetting as error:
        log.error("The certificate stays as it is: %s", error)
    else:
        log.info("The certificate was read again.")
