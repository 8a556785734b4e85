"""Which data folder a records database belongs to: the one whose files its records name.

Files that no record names are deleted, so a folder must never meet the records of another one.
Called by `penstock.wiring.record_store`, which compares the id with the folder's own.
"""

from __future__ import annotations

import sqlalchemy as sa

from penstock.stores.schema import data_folder
from penstock.stores.sql_records import SqlRecords


def folder_of(records: SqlRecords) -> str | None:
    """Return the id of the data folder, or None while there is none. Raises `StoreError`."""
    with records.transaction() as connection:
        found: str | None = connection.execute(sa.select(data_folder.c.folder_id)).scalar()
    return found


def belong_to(records: SqlRecords, folder_id: str) -> None:
    """Note the id of the data folder of records that have none yet. Raises `StoreError`."""
    with records.transaction() as connection:
        connection.execute(data_folder.insert().values(folder_id=folder_id))
