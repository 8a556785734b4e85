"""Copies all records of one SQL database into another that has none; for a change of database.

Called by `penstock.wiring.record_store`.
"""

from __future__ import annotations

import sqlalchemy as sa

from penstock.core.errors import Conflict
from penstock.stores.schema import metadata
from penstock.stores.sql_records import SqlRecords

#: Rows that are read and written at a time.
_ROWS = 200


def copy_records(source: SqlRecords, target: SqlRecords) -> dict[str, int]:
    """Copy every row, in one transaction; return how many of each table.

    Raises:
        Conflict: The target has records.
        StoreError: A database failed; the target is as it was.
    """
    with source.transaction() as reading, target.transaction() as writing:
        for table in metadata.sorted_tables:
            if writing.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
                raise Conflict(
                    "The database has records already.",
                    hint="Name an empty one, or use it as it is with another data folder.",
                )
        copied = {t.name: _copy(reading, writing, t) for t in metadata.sorted_tables}
        for table in metadata.sorted_tables:
            _go_on_counting(writing, table)
    return copied


def _copy(reading: sa.Connection, writing: sa.Connection, table: sa.Table) -> int:
    keys = list(table.primary_key.columns)
    found = reading.execution_options(yield_per=_ROWS).execute(sa.select(table).order_by(*keys))
    copied = 0
    for some in found.mappings().partitions(_ROWS):
        writing.execute(table.insert(), [dict(row) for row in some])
        copied += len(some)
    return copied


def _go_on_counting(connection: sa.Connection, table: sa.Table) -> None:
    """Have PostgreSQL number new rows after those that were copied with their numbers."""
    if "seq" not in table.c or connection.dialect.name != "postgresql":
        return
    last = connection.execute(sa.select(sa.func.max(table.c.seq))).scalar()
    if last is not None:
        sequence = sa.func.pg_get_serial_sequence(table.name, "seq")
        connection.execute(sa.select(sa.func.setval(sequence, last)))
