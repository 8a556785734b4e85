"""The tables of the records database, as SQLAlchemy Core sees them.

`sqlite_records` builds its statements from these tables; the files in `migrations/` create them.
A test compares the two. Types are plain, so SQLite and PostgreSQL share them; times are seconds
since the epoch, JSON is text.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

#: Every constraint has a name, so that a later migration can speak of it on any database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

projects = Table(
    "projects",
    metadata,
    Column("name", String(20), nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("name"),
)

# `keys` and `values` are reserved words somewhere; `api_keys` is not.
api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(40), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("prefix", String(40), nullable=False),
    Column("scope", String(10), nullable=False),
    Column("project", String(20), nullable=True),
    Column("label", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double, nullable=True),
    PrimaryKeyConstraint("key_id"),
    UniqueConstraint("digest"),
    ForeignKeyConstraint(["project"], ["projects.name"]),
    Index(None, "project"),
)

# A deleted deployment leaves its row behind (`deleted_at` set): `next_number` must outlive it.
deployments = Table(
    "deployments",
    metadata,
    Column("project", String(20), nullable=False),
    Column("name", String(20), nullable=False),
    Column("active", Integer, nullable=True),
    Column("next_number", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("deleted_at", Double, nullable=True),
    PrimaryKeyConstraint("project", "name"),
    ForeignKeyConstraint(["project"], ["projects.name"]),
    CheckConstraint("next_number >= 1", name="next_number"),
)

versions = Table(
    "versions",
    metadata,
    Column("project", String(20), nullable=False),
    Column("deployment", String(20), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("settings", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("ready_at", Double, nullable=True),
    Column("failure", Text, nullable=True),
    PrimaryKeyConstraint("project", "deployment", "number"),
    ForeignKeyConstraint(["project", "deployment"], ["deployments.project", "deployments.name"]),
)
