"""Which URLs may be called back, as far as the text of a URL can tell.

`check_url` is called when a run is submitted, so that a bad URL is refused there, and by
`outgoing` before every attempt. What a host name resolves to is checked at the attempt. The
parser is strict on purpose: where two programs read one URL differently, guards are got around.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import idna

from penstock.control.addresses import NOTHING_MORE, Address, Allowance
from penstock.core.errors import InvalidWebhookUrl

MAX_LENGTH = 2048

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@%\s]+)(?::(?P<port>[0-9]{1,5}))?")
_REST = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: A last label that any resolver might take for part of a number: 127.1, 0x7f.1, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class WebhookUrl:
    """A URL that was read.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: Host name in lower case and ASCII, or an IP address without brackets.
        port: 1 to 65535.
        path: Path and query as sent in a request, beginning with `/`.
        address: Set when the host is an IP address.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None = None

    @property
    def authority(self) -> str:
        """Host, with the port unless it is the usual one: the text of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and authority: what is one receiver."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return self.origin + self.path


def check_url(url: object, allowed: Allowance = NOTHING_MORE) -> str:
    """Return a webhook URL in its plain form; refuse one that can never be called.

    Args:
        url: What the caller sent.
        allowed: What the operator allows beyond public addresses.

    Raises:
        InvalidWebhookUrl: It is no `http` or `https` URL, carries a user name, or names a host,
            address or port that is not allowed.
    """
    found = read_url(url)
    if found.address is not None:
        admitted = allowed.admits(found.host, found.address, found.port)
    else:
        admitted = allowed.may_admit(found.host, found.port)
    if not admitted:
        raise InvalidWebhookUrl(
            f"The webhook URL leads to {found.host} port {found.port}, which this server does not "
            "call.",
            hint="Use a public address and the port 80, 443 or one from 1024 on; the operator can "
            "allow others with the setting webhook_allow.",
        )
    return str(found)


def read_url(url: object) -> WebhookUrl:
    """Return a webhook URL's parts.

    Raises:
        InvalidWebhookUrl: It is not written as this server wants it.
    """
    if not isinstance(url, str):
        raise InvalidWebhookUrl(f"A webhook URL is text, not a {type(url).__name__}.")
    if len(url) > MAX_LENGTH:
        raise _bad(url, f"it has more than {MAX_LENGTH} characters")
    shape = _SHAPE.fullmatch(url)
    if shape is None or shape["scheme"].lower() not in _PORTS:
        raise _bad(url, "it does not begin with http:// or https://")
    scheme = shape["scheme"].lower()
    if not _REST.fullmatch(shape["rest"]):
        raise _bad(url, "its path has a fragment, a space or a character that must be %-encoded")
    if "@" in shape["authority"]:
        raise _bad(url, "it has a user name in it")
    authority = _AUTHORITY.fullmatch(shape["authority"])
    if authority is None:
        raise _bad(url, "its host and port cannot be read")
    host, address = _host(url, authority["host"])
    path = shape["rest"]
    return WebhookUrl(
        scheme,
        host,
        _port(url, authority["port"], scheme),
        path if path.startswith("/") else f"/{path}",
        address,
    )


def _port(url: str, text: str | None, scheme: str) -> int:
    if text is None:
        return _PORTS[scheme]
    if text.startswith("0") or int(text) > 65535:
        raise _bad(url, f"{text} is not a port")
    return int(text)


def _host(url: str, text: str) -> tuple[str, Address | None]:
    if text.startswith("["):
        try:
            six = ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            raise _bad(url, f"{text} is not an IPv6 address") from None
        return str(six), six
    host = _ascii(url, text)
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        raise _bad(url, f"{text!r} is not a host name")
    if not _NUMBER.fullmatch(labels[-1]):
        return host, None
    try:
        four = ipaddress.IPv4Address(host)
    except ValueError:
        raise _bad(url, f"{text!r} is not an IPv4 address in its plain form") from None
    return str(four), four


def _ascii(url: str, text: str) -> str:
    """Return a host name in lower case and ASCII, without the dot at its end."""
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise _bad(url, f"{text!r} is not an internationalised host name") from None
    return text.lower().removesuffix(".")


def _bad(url: str, because: str) -> InvalidWebhookUrl:
    shown = url if len(url) <= 200 else f"{url[:200]}…"
    return InvalidWebhookUrl(
        f"{shown!r} cannot be a webhook URL: {because}.",
        hint="Send an address such as https://example.com/hooks/runs.",
    )
