"""Chooses where the records are: a SQLite file in the data folder, or PostgreSQL.

Called by `assembly`, `penstock doctor` and `penstock move-records`. The files of versions, runs and
uploads stay in the data folder either way, and what no record names is deleted there: so a folder
stays with its records, by an id that both know, and a server that would look for them elsewhere is
refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from penstock.core.errors import StoreError
from penstock.core.redaction import HIDDEN
from penstock.server.load_settings import load_settings
from penstock.server.settings import Settings
from penstock.stores.base import RecordStore
from penstock.stores.belonging import belong_to, folder_of
from penstock.stores.postgres_url import PostgresUrl, read_url
from penstock.stores.sql_records import SqlRecords
from penstock.stores.sqlite_records import SqliteRecords
from penstock.wiring.data_folder import DataFolder


def record_opener(settings: Settings, folder: DataFolder) -> Callable[[], RecordStore]:
    """Return what opens the records, for the thread that is to use them.

    Raises:
        InvalidSetting: The setting `database` is not the address of a database.
        StoreError: The folder's records are elsewhere.
    """
    if not settings.database:
        _refuse_if_moved(folder.elsewhere, folder.records)
        _refuse_if_lost(folder)
        return lambda: _settled(SqliteRecords(folder.records), folder, str(folder.records))
    url = read_url(settings.database)
    HIDDEN.add(url.secrets)
    if folder.records.exists():
        raise StoreError(
            f"The data folder {folder.root} has records of its own ({folder.records.name}), and "
            f"PENSTOCK_DATABASE names {url.shown}.",
            hint="Copy them there with `penstock move-records`, or begin with another data folder.",
        )

    def open_there() -> RecordStore:
        from penstock.stores.postgres_records import PostgresRecords

        store = _settled(PostgresRecords(url), folder, url.shown)
        try:
            folder.note_elsewhere(url.shown)
        except BaseException:
            store.close()
            raise
        return store

    return open_there


def _settled(store: SqlRecords, folder: DataFolder, where: str) -> SqlRecords:
    """Return an open store if it is the folder's; one that is nobody's yet becomes so."""
    try:
        theirs, ours = folder_of(store), folder.known_id()
        if theirs is None and ours is None:
            theirs = str(uuid.uuid4())
            belong_to(store, theirs)
        if ours is None and theirs is not None:
            folder.note_id(theirs)
        elif theirs != ours:
            raise _another(folder, where)
    except BaseException:
        store.close()
        raise
    return store


def _another(folder: DataFolder, where: str) -> StoreError:
    before = folder.records.name
    if folder.elsewhere.exists():
        before = folder.elsewhere.read_text(encoding="utf-8").strip()
    return StoreError(
        f"{where} does not have the records of the data folder {folder.root}, whose files would be "
        f"deleted as unused. They were last in {before}.",
        hint="Name that database, or another data folder. If these are its records all the same, "
        f"from an old backup, or if its files may go, delete {folder.id_file}.",
    )


def move_records(root: Path, url: PostgresUrl) -> dict[str, int]:
    """Copy the records of a data folder to PostgreSQL; return how many rows of each table.

    Its file is renamed afterwards, so that nobody writes to it any more.

    Raises:
        Conflict: The database has records already.
        StoreError: The folder has no records, a server uses it or the database, or one failed.
    """
    from penstock.stores.copy_records import copy_records
    from penstock.stores.postgres_records import PostgresRecords

    if not (root / "records.sqlite").exists():
        raise StoreError(f"The data folder {root} has no records.sqlite.", hint="Check --data.")
    with DataFolder(root) as folder:
        with (
            closing(SqliteRecords(folder.records)) as source,
            closing(PostgresRecords(url)) as target,
        ):
            copied = copy_records(source, target)
        folder.note_elsewhere(url.shown)
        folder.records.rename(folder.records.with_suffix(".sqlite.moved"))
    return copied


def named_database() -> PostgresUrl | None:
    """Return the database that the environment names, if it does.

    Raises:
        InvalidSetting: It cannot be read.
    """
    text = load_settings().database
    return read_url(text) if text else None


def _refuse_if_moved(elsewhere: Path, records: Path) -> None:
    if not elsewhere.exists() or records.exists():
        return
    where = elsewhere.read_text(encoding="utf-8").strip()
    raise StoreError(
        f"The records of the data folder {elsewhere.parent} are in {where}, and PENSTOCK_DATABASE "
        "is not set.",
        hint="Set it. To begin anew with SQLite, use another data folder.",
    )


def _refuse_if_lost(folder: DataFolder) -> None:
    if folder.records.exists() or not folder.id_file.exists():
        return
    raise StoreError(
        f"The data folder {folder.root} has files, but {folder.records.name} is gone.",
        hint="Restore it from a backup, or begin with another data folder. If the files may go, "
        f"delete {folder.id_file}.",
    )
