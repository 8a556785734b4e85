"""The records in PostgreSQL: the store of a server whose setting `database` names one."""

from __future__ import annotations

from functools import partial

from penstock.stores.postgres_engine import open_engine
from penstock.stores.postgres_failures import postgres_failure
from penstock.stores.postgres_url import PostgresUrl
from penstock.stores.sql_records import SqlRecords


class PostgresRecords(SqlRecords):
    """Records in the tables of one schema of a PostgreSQL database.

    A connection that is lost is made again by the next call; until then each call raises
    `StoreUnavailable`. No other Penstock server can use the tables meanwhile.

    Args:
        url: The database; its tables are created and brought to the present schema if need be.

    Raises:
        StoreError: As `SqlRecords` says.
    """

    def __init__(self, url: PostgresUrl) -> None:
        super().__init__(open_engine(url), url.shown, partial(postgres_failure, where=url.shown))
