from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from penstock.core.errors import StoreError
from penstock.core.records import ProjectRecord
from penstock.stores import migrate
from penstock.stores.schema import metadata
from penstock.stores.sqlite_engine import open_engine
from penstock.stores.sqlite_records import SqliteRecords


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(tmp_path / "records.sqlite")
    yield engine
    engine.dispose()


def test_the_migrations_make_exactly_the_tables_of_the_schema(engine):
    with engine.begin() as connection:
        migrate.upgrade(connection, "it")
        options = {"version_table": migrate.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_newest_step_is_the_one_the_code_names():
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_an_upgrade_that_is_cut_off_leaves_nothing(engine):
    with engine.connect() as connection, connection.begin() as transaction:
        migrate.upgrade(connection, "it")
        assert migrate.revision(connection) == migrate.HEAD
        transaction.rollback()
    with engine.begin() as connection:
        assert migrate.revision(connection) is None
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master").all()
    assert tables == []


def test_a_database_of_a_newer_penstock_is_refused(tmp_path):
    path = tmp_path / "records.sqlite"
    SqliteRecords(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"schema 9999.*Install the Penstock that wrote it"):
        SqliteRecords(path)


def test_the_records_file_is_for_its_owner_only_and_fully_durable(tmp_path, engine):
    path = tmp_path / "records.sqlite"
    with engine.begin() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "locking_mode")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "locking_mode": "exclusive",
    }
    engine.dispose()
    path.unlink()
    SqliteRecords(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_connection_is_refused_until_the_first_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr("penstock.stores.sqlite_engine.BUSY_TIMEOUT_MS", 10)
    path = tmp_path / "records.sqlite"
    first = SqliteRecords(path)
    with pytest.raises(StoreError, match=r"in use by another process.*Stop the other"):
        SqliteRecords(path)
    first.add_project(ProjectRecord("default", 1.0))
    first.close()
    second = SqliteRecords(path)
    assert len(second.list_projects()) == 1
    second.close()


@pytest.mark.parametrize(
    "content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_damaged_file_is_a_store_error_that_says_what_to_do(tmp_path, content):
    path = tmp_path / "records.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="backup"):
        SqliteRecords(path)


def test_a_missing_folder_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        SqliteRecords(tmp_path / "nowhere" / "records.sqlite")
