"""What is particular to PostgreSQL: the address, the session, the lock, the schema, failures."""

from __future__ import annotations

import time

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from penstock.core.audit_records import AuditEntry
from penstock.core.errors import Conflict, InvalidSetting, StoreError, StoreUnavailable
from penstock.core.records import ProjectRecord
from penstock.stores import migrate
from penstock.stores.copy_records import copy_records
from penstock.stores.postgres_engine import open_engine
from penstock.stores.postgres_failures import postgres_failure
from penstock.stores.postgres_records import PostgresRecords
from penstock.stores.postgres_url import read_url
from penstock.stores.schema import metadata
from penstock.stores.sqlite_records import SqliteRecords


@pytest.fixture(scope="module")
def url(postgres):
    return read_url(postgres.url(postgres.new_database()))


@pytest.fixture
def store(url):
    opened = PostgresRecords(url)
    yield opened
    opened.close()


def setting(store, name):
    with store.transaction() as connection:
        return connection.exec_driver_sql(f"SHOW {name}").scalar()


@pytest.mark.parametrize(
    ("text", "shown", "secrets"),
    [
        ("postgresql://u:pw@h:1/d?sslmode=require", "postgresql://u@h:1/d", ["pw"]),
        ("postgres://u@a:1,b:2/d", "postgresql://u@a:1,b:2/d", []),
        ("postgresql://u:p%40%3A@h/d", "postgresql://u@h/d", ["p@:"]),
        ("postgresql:///d?host=/run/x&password=s3cr3t", "postgresql:///run/x/d", ["s3cr3t"]),
        ("postgresql://[::1]:5/d?sslpassword=k", "postgresql://::1:5/d", ["k"]),
    ],
)
def test_an_address_is_shown_without_its_secrets(text, shown, secrets):
    found = read_url(text)
    assert (found.shown, found.secrets) == (shown, secrets)
    assert not any(secret in repr(found) for secret in secrets)


@pytest.mark.parametrize(
    "text",
    ["mysql://u:secret@h/d", "postgresql+psycopg://u:secret@h/d", "postgresql://u:secret%zz@h/d"],
)
def test_what_is_no_address_is_refused_without_repeating_it(text):
    with pytest.raises(InvalidSetting, match="PENSTOCK_DATABASE") as refused:
        read_url(text)
    assert "secret" not in str(refused.value)


def test_the_migrations_make_exactly_the_tables_of_the_schema(store):
    with store.transaction() as connection:
        options = {"version_table": migrate.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_commits_are_durable_whatever_the_default_of_the_database_is(postgres, url):
    name = url.parts["dbname"]
    postgres.execute(name, f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        store = PostgresRecords(url)
        assert setting(store, "synchronous_commit") == "on"
        store.close()
        postgres.execute(name, f"ALTER DATABASE {name} SET synchronous_commit = remote_write")
        store = PostgresRecords(url)
        assert setting(store, "synchronous_commit") == "remote_write"
        store.close()
    finally:
        postgres.execute(name, f"ALTER DATABASE {name} RESET synchronous_commit")


def test_a_text_with_a_zero_character_is_stored_without_it(store):
    store.add_project(ProjectRecord("a\0b", 1.0))
    assert store.get_project("a\N{REPLACEMENT CHARACTER}b").created_at == 1.0


def test_an_upgrade_that_is_cut_off_leaves_nothing(postgres, monkeypatch):
    empty = postgres.new_database()
    with monkeypatch.context() as broken:
        broken.setattr("penstock.stores.sql_records.upgrade", cut_off)
        with pytest.raises(ZeroDivisionError):
            PostgresRecords(read_url(postgres.url(empty)))
    assert postgres.execute(empty, "SELECT to_regclass('projects')") == [(None,)]
    PostgresRecords(read_url(postgres.url(empty))).close()


def cut_off(connection, where):
    migrate.upgrade(connection, where)
    raise ZeroDivisionError


def test_a_database_of_a_newer_penstock_is_refused(postgres):
    name = postgres.new_database()
    address = read_url(postgres.url(name))
    PostgresRecords(address).close()
    postgres.execute(name, "UPDATE schema_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"schema 9999.*Install the Penstock that wrote it"):
        PostgresRecords(address)


def test_two_schemas_of_a_database_are_two_stores(postgres, store, url):
    postgres.execute(url.parts["dbname"], "CREATE SCHEMA other")
    there = postgres.url(url.parts["dbname"]) + "&options=-csearch_path%3Dother"
    other = PostgresRecords(read_url(there))
    store.add_project(ProjectRecord("here", 1.0))
    assert other.list_projects() == []
    other.close()


def test_another_encoding_is_refused(postgres):
    name = postgres.new_database()
    postgres.execute(
        "postgres",
        f"CREATE DATABASE {name}_latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'",
    )
    with pytest.raises(StoreError, match=r"encoding LATIN1.*UTF8"):
        PostgresRecords(read_url(postgres.url(f"{name}_latin")))


def test_a_wrong_password_and_a_missing_database_say_what_to_do(postgres, url):
    name = url.parts["dbname"]
    for address, said in (
        (postgres.tcp_url(name, "no"), "refuses the server's user.*Check user and password"),
        (postgres.tcp_url("nowhere"), "does not exist.*createdb"),
        (f"postgresql://x@127.0.0.1:1/{name}", "cannot be reached.*Check that it runs"),
    ):
        with pytest.raises(StoreError, match=said):
            PostgresRecords(read_url(address))


def test_a_host_that_does_not_answer_delays_one_call_and_not_those_behind_it(monkeypatch):
    tried = []

    def connect(**_options):
        tried.append(time.monotonic())
        while time.monotonic() < tried[-1] + 0.3:
            pass
        raise psycopg.OperationalError("connection timeout expired")

    monkeypatch.setattr("psycopg.connect", connect)
    with pytest.raises(StoreUnavailable):
        PostgresRecords(read_url("postgresql://h/d"))
    engine = open_engine(read_url("postgresql://h/d"))
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            engine.connect()
    assert len(tried) == 2  # the store's, and the first of five


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (psycopg.errors.AdminShutdown("terminating"), StoreUnavailable, "restarting or stopping"),
        (psycopg.errors.DiskFull("no room"), StoreUnavailable, "no space left"),
        (psycopg.errors.LockNotAvailable("lock"), StoreUnavailable, "locked by somebody else"),
        (psycopg.OperationalError("the connection is closed"), StoreUnavailable, "reached"),
        (psycopg.errors.InsufficientPrivilege("no"), StoreError, "does not let"),
        (psycopg.errors.ReadOnlySqlTransaction("no"), StoreError, "only be read"),
        (psycopg.errors.UndefinedColumn("no such column"), StoreError, "failed: no such column"),
    ],
)
def test_failures_say_whether_trying_again_helps(error, kind, said):
    found = postgres_failure(error, "postgresql://h/d")
    assert type(found) is kind
    assert said in found.message
    assert ("retry_after_s" in found.facts) == (kind is StoreUnavailable)


def test_records_are_copied_whole_and_new_rows_are_numbered_after_them(postgres, tmp_path):
    source = SqliteRecords(tmp_path / "records.sqlite")
    source.add_project(ProjectRecord("default", 1.0))
    entry = AuditEntry(5.0, "default", "k", "me", "", "create", "it", 201, {"a": "b"})
    for _ in range(450):
        source.audit.add(entry)
    target = PostgresRecords(read_url(postgres.url(postgres.new_database())))
    copied = copy_records(source, target)
    assert (copied["projects"], copied["audit"], copied["runs"]) == (1, 450, 0)
    assert target.audit.list(None, limit=1000) == source.audit.list(None, limit=1000)
    target.audit.add(entry)
    assert target.audit.list(None, limit=1)[0].seq == 451
    with pytest.raises(Conflict, match="has records already"):
        copy_records(source, target)
    source.close()
    target.close()
