"""How a PostgreSQL database is opened: all that is particular to PostgreSQL about the records.

There is one connection at a time, as with SQLite. It holds an advisory lock for as long as it
lives, so a second server on the same tables is refused instead of running the same runs. When the
connection is lost, the next transaction makes a new one and takes the lock again; if another server
has it by then, this one is the second.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

from penstock.core.errors import StoreError, StoreUnavailable
from penstock.core.errors.error import rebuild
from penstock.core.faults import skipped
from penstock.stores.postgres_failures import postgres_failure
from penstock.stores.postgres_url import PostgresUrl

if TYPE_CHECKING:
    import psycopg

#: Seconds to wait for the lock: time for a server that is just stopping, or was killed.
LOCK_WAIT_S = 3.0
_LOCK_PAUSE_S = 0.05

#: First half of the lock's number ("pens"); the other is the hash of the schema's name.
_LOCK = 0x70656E73

#: After an attempt to connect that took t seconds, calls are refused for so many times t: a host
#: that swallows packets must not keep every call waiting for a timeout of its own.
_REST = 2.0

#: Given to libpq unless the address says otherwise. Times make a connection whose other end is
#: gone known within about 15 s.
DEFAULTS = {
    "application_name": "penstock",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

#: Set in each session. The server's keepalives free the lock of a machine that is gone. A lock of
#: somebody else's transaction is not waited for without end.
_SESSION = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "lock_timeout": "10s",
    "timezone": "UTC",
}


def open_engine(url: PostgresUrl) -> sa.Engine:
    """Return an engine with one durable connection, which is made when it is first needed."""
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=_Connector(url).connect,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
    )

    def on_checkout(connection: Any, _record: object, _proxy: object) -> None:
        if is_lost(connection):
            raise DisconnectionError  # the pool makes another

    sa.event.listen(engine, "checkout", on_checkout)
    return engine


def is_lost(connection: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection has ended, as far as this side knows; asks only when in doubt."""
    import psycopg

    if connection.closed:
        return True
    said = select.poll()
    said.register(connection.fileno(), select.POLLIN)
    if not said.poll(0):
        return False
    try:  # the server said something unasked: a notice, a changed setting, or farewell
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error:
        return True
    return False


class _Connector:
    """Makes connections that are set up and hold the lock."""

    def __init__(self, url: PostgresUrl) -> None:
        self._url = url
        self._resting_until = 0.0
        self._last: StoreError | None = None

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection.

        Raises:
            StoreError: There is none to be had, or another server has the lock.
        """
        begun = time.monotonic()
        if self._last is not None and begun < self._resting_until:
            raise rebuild(type(self._last), self._last.to_dict())
        try:
            connection = self._connect()
        except StoreError as error:
            now = time.monotonic()
            self._last, self._resting_until = error, now + _REST * (now - begun)
            raise
        self._last = None
        return connection

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        connection = None
        try:
            connection = psycopg.connect(**{**DEFAULTS, **self._url.parts}, autocommit=True)
            self._set_up(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, psycopg.Error):
                raise postgres_failure(error, self._url.shown) from error
            raise
        return connection

    def _set_up(self, connection: psycopg.Connection[Any]) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreError(
                f"The database {self._url.shown} has the encoding {encoding}.",
                hint="Create one with the encoding UTF8.",
            )
        for name, value in _SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        # What was acknowledged is on the disk, whatever the database's default is.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        if skipped("records.sync"):
            connection.execute("SET synchronous_commit = off")
        _keep_texts_whole(connection)
        self._take_lock(connection)
        connection.autocommit = False

    def _take_lock(self, connection: psycopg.Connection[Any]) -> None:
        deadline = time.monotonic() + LOCK_WAIT_S
        query = "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))"
        while True:
            row = connection.execute(query, (_LOCK,)).fetchone()
            if row is not None and row[0]:
                return
            if time.monotonic() > deadline:
                raise _in_use(self._url.shown, _holder(connection))
            time.sleep(_LOCK_PAUSE_S)


def _holder(connection: psycopg.Connection[Any]) -> str:
    """Return who has the lock, as far as this user may know."""
    row = connection.execute(
        "SELECT a.pid, host(a.client_addr) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s::oid AND l.objsubid = 2"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        (_LOCK,),
    ).fetchone()
    if row is None:
        return ""
    return f" (session {row[0]}, from {row[1] or 'the same machine'})"


def _in_use(where: str, holder: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The database {where} is in use by another process{holder}.",
        hint="Stop the other Penstock server of this database, or choose another database: one "
        "server at a time may use it.",
        retry_after_s=5,
    )


def _keep_texts_whole(connection: psycopg.Connection[Any]) -> None:
    """Let texts with the one character that PostgreSQL has not, U+0000, be stored without it."""
    from psycopg.types.string import StrDumper

    class WithoutNul(StrDumper):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))

    connection.adapters.register_dumper(str, WithoutNul)
