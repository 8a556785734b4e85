"""The records in a SQLite file: the store of a server that names no other database."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from penstock.stores.failures import database_failure
from penstock.stores.sql_records import SqlRecords
from penstock.stores.sqlite_engine import make_private, open_engine


class SqliteRecords(SqlRecords):
    """Records in one SQLite file.

    Args:
        path: The file; created (mode 0600) and brought to the present schema if need be.

    Raises:
        StoreError: As `SqlRecords` says.
    """

    def __init__(self, path: Path) -> None:
        try:
            make_private(path)
        except OSError as error:
            raise database_failure(error, path) from error
        super().__init__(open_engine(path), str(path), partial(database_failure, path=path))
