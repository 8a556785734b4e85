"""Reads the address of a PostgreSQL database, and knows which part of it nobody may see.

Used by `penstock.wiring`; the address is libpq's own, so several hosts, service files, password
files and TLS options work as its documentation says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.core.errors import InvalidSetting

_SCHEMES = ("postgresql://", "postgres://")

#: Parts of an address that are secrets.
_SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key")

_HINT = (
    "Write postgresql://user:password@host:5432/database, with special characters of the password "
    "percent-encoded."
)


@dataclass(frozen=True)
class PostgresUrl:
    """The address of a database.

    Attributes:
        parts: What libpq is given, by name.
        shown: The address as messages may name it: without password and options.
    """

    parts: Mapping[str, Any] = field(repr=False)
    shown: str

    @property
    def secrets(self) -> list[str]:
        """The texts that must not be shown anywhere."""
        return [str(self.parts[name]) for name in _SECRETS if self.parts.get(name)]


def read_url(text: str) -> PostgresUrl:
    """Return the address in `text`.

    Raises:
        InvalidSetting: It is none, or the driver is not installed. The message does not repeat
            the text, which may have a password in it.
    """
    if not text.startswith(_SCHEMES):
        raise InvalidSetting(
            "PENSTOCK_DATABASE is not the URL of a PostgreSQL database.",
            hint=f"{_HINT} Leave it empty for SQLite in the data folder.",
        )
    conninfo = _driver()
    try:
        parts = conninfo.conninfo_to_dict(text)
    except Exception:  # noqa: BLE001 - the driver's messages may quote the password
        raise InvalidSetting("PENSTOCK_DATABASE cannot be read as a URL.", hint=_HINT) from None
    return PostgresUrl(parts, _shown(parts))


def _driver() -> Any:
    try:
        from psycopg import conninfo
    except ImportError as error:
        raise InvalidSetting(
            f"PENSTOCK_DATABASE names PostgreSQL, and its driver does not work here: {error}.",
            hint="pip install 'penstock[postgres]'",
        ) from None
    return conninfo


def _shown(parts: Mapping[str, Any]) -> str:
    user = f"{parts['user']}@" if parts.get("user") else ""
    hosts = str(parts.get("host") or "").split(",")
    ports = str(parts.get("port") or "").split(",")
    ports *= len(hosts) if len(ports) == 1 else 1
    places = [f"{h}:{p}" if p else h for h, p in zip(hosts, ports, strict=False)]
    return f"postgresql://{user}{','.join(places)}/{parts.get('dbname') or ''}"
