"""`penstock.secrets`: the secrets of a project on a server, from Python and for the command line.

Values go to the server and never come back: functions read them with `get_secret`. Server and key
are found as `penstock.deploy` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from penstock.client.session import Session
from penstock.client.targets import session_of
from penstock.core.secret_records import check_secret_name, check_secret_value


@dataclass(frozen=True)
class Secret:
    """A secret as the server tells of it: never its value. Times are seconds since the epoch."""

    name: str
    created_at: float
    updated_at: float
    updated_by: str


def set(  # noqa: A001 - read as `penstock.secrets.set`
    name: str,
    value: str,
    *,
    project: str | None = None,
    server: str | None = None,
    api_key: str | None = None,
) -> bool:
    """Set a secret of a project; workers that declare it see it within seconds.

    Args:
        name: 1 to 64 letters, digits, `_`, `.` and `-`, beginning with a letter or `_`.
        value: The secret, as text; encode what is more, for example as JSON.
        project: The project, for a key that may act in several.
        server: Address of the server.
        api_key: Key with deploy scope.

    Returns:
        Whether there was no secret of that name.
    """
    session, where = _at(project, server, api_key)
    fields = {"value": check_secret_value(check_secret_name(name), value)}
    return bool(session.put_json(f"{where}/{quote(name)}", fields)["created"])


def list(  # noqa: A001
    *, project: str | None = None, server: str | None = None, api_key: str | None = None
) -> tuple[Secret, ...]:
    """Return the secrets of a project by name, without their values.

    Args:
        project: The project, for a key that may act in several.
        server: Address of the server.
        api_key: Key with deploy scope.
    """
    session, where = _at(project, server, api_key)
    return tuple(Secret(**fields) for fields in session.get(where)["secrets"])


def delete(
    name: str,
    *,
    project: str | None = None,
    server: str | None = None,
    api_key: str | None = None,
) -> None:
    """Delete a secret.

    Args:
        name: Its name.
        project: The project, for a key that may act in several.
        server: Address of the server.
        api_key: Key with deploy scope.

    Raises:
        NotFound: There is none of that name.
    """
    session, where = _at(project, server, api_key)
    session.delete(f"{where}/{quote(check_secret_name(name))}")


def rotate(*, server: str | None = None, api_key: str | None = None) -> int:
    """Encrypt every secret of the server with a new key; return how many values that were.

    Args:
        server: Address of the server.
        api_key: Key with admin scope.
    """
    session = session_of(api_key, server)[0]
    answer: dict[str, Any] = session.post("/v1/secrets/rotate")
    return int(answer["values"])


def _at(project: str | None, server: str | None, api_key: str | None) -> tuple[Session, str]:
    session, found = session_of(api_key, server, project)
    return session, f"/v1/{found}/secrets"
