"""Examines the PostgreSQL database of the records; called by `folder_checks`.

Nothing is changed and no lock is taken, so a server may use the database meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from penstock.core.findings import Finding, ok, problem, warning
from penstock.stores.migrate import HEAD, VERSION_TABLE
from penstock.stores.postgres_engine import DEFAULTS
from penstock.stores.postgres_failures import postgres_failure
from penstock.stores.postgres_url import PostgresUrl
from penstock.wiring.file_needs import Rows, read_rows

if TYPE_CHECKING:
    import psycopg

MIB = 1024 * 1024

#: The oldest version that its makers still mended when this was written.
_OLDEST = 140_000

#: Settings that must be on, and what happens otherwise.
_DURABLE = (
    ("fsync", "a power cut there can damage the whole database."),
    ("full_page_writes", "a power cut there can damage the whole database."),
    (
        "synchronous_commit",
        "a power cut there loses what other programs wrote last. Penstock turns it on for itself.",
    ),
)


def examine_postgres(url: PostgresUrl) -> Generator[Finding, None, Rows | None]:
    """Yield what there is to say about the database; return what it holds about files."""
    import psycopg

    try:
        with psycopg.connect(**{**DEFAULTS, **url.parts}, autocommit=True) as connection:
            yield _examine_place(connection, url)
            yield from _examine_settings(connection, url)
            found = yield from _examine_schema(connection, url)
    except psycopg.Error as error:
        failure = postgres_failure(error, url.shown)
        yield problem("records", failure.message, failure.hint or "See the database's log.")
        return None
    return found


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode("ascii")).fetchone()
    return None if row is None else row[0]


def _examine_place(connection: psycopg.Connection[Any], url: PostgresUrl) -> Finding:
    number = connection.info.server_version
    size = _one(connection, "SELECT pg_database_size(current_database())")
    text = f"PostgreSQL {number // 10_000}.{number % 10_000} at {url.shown}, {size / MIB:.1f} MiB."
    if _one(connection, "SELECT pg_is_in_recovery()"):
        advice = "Name the primary, or add target_session_attrs=read-write to the address."
        return problem("records", f"{text} It is a standby and can only be read.", advice)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        advice = "Create another database: createdb --encoding=UTF8 --template=template0 NAME."
        return problem("records", f"{text} Its encoding is {encoding}.", advice)
    if number < _OLDEST:
        return warning("records", f"{text} That version is no longer mended.", "Use a newer one.")
    return ok("records", text)


def _examine_settings(connection: psycopg.Connection[Any], url: PostgresUrl) -> Iterator[Finding]:
    sound = True
    for name, harm in _DURABLE:
        if _one(connection, f"SELECT current_setting('{name}')") == "off":
            sound = False
            yield warning("durability", f"{name} is off: {harm}", f"Set {name} = on there.")
    if sound:
        yield ok("durability", "What is committed is on the database's disk.")
    local = str(url.parts.get("host") or "/").startswith(("/", "127.0.0.1", "localhost", "@"))
    if not local and not connection.pgconn.ssl_in_use:
        advice = "Add sslmode=verify-full to the address."
        yield warning("records", "The connection to the database is not encrypted.", advice)


def _examine_schema(
    connection: psycopg.Connection[Any], url: PostgresUrl
) -> Generator[Finding, None, Rows | None]:
    if _one(connection, f"SELECT to_regclass('{VERSION_TABLE}')") is None:
        yield from _examine_rights(connection)
        return None
    found = str(_one(connection, f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    if found > HEAD:
        text = f"{url.shown} has schema {found}; this Penstock knows schemas up to {HEAD}."
        yield problem("schema", text, "Install the Penstock that wrote it or a newer one.")
        return None
    steps = "is the present one." if found == HEAD else f"becomes {HEAD} at the next start."
    yield ok("schema", f"Its schema {found} {steps}")
    return read_rows(lambda query: connection.execute(query.encode("ascii")).fetchall())


def _examine_rights(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    if _one(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        yield ok("schema", "It has no tables yet; the first start makes them.")
        return
    user = connection.info.user
    advice = f"GRANT ALL ON SCHEMA public TO {user}, or let {user} own the database."
    yield problem("schema", f"The user {user} may not create tables there.", advice)
