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

# One row once a server has used the database; see `belonging`.
data_folder = Table(
    "data_folder",
    metadata,
    Column("folder_id", String(36), nullable=False),
    PrimaryKeyConstraint("folder_id"),
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
    Column("deployments", Text, nullable=True),
    Column("expires_at", Double, nullable=True),
    Column("last_used_at", Double, nullable=True),
    Column("created_by", Text, nullable=False, server_default=""),
    Column("rate_per_s", Double, nullable=True),
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
    Column("min_replicas", Integer, nullable=True),
    Column("max_replicas", Integer, nullable=True),
    Column("cooldown_s", Double, nullable=True),
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

# `rank` is the priority with its sign turned, so that one plain index serves the order of claims.
runs = Table(
    "runs",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("project", String(20), nullable=False),
    Column("deployment", String(20), nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("state", String(10), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker_deaths", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("timeout_s", Double, nullable=True),
    Column("webhook_url", Text, nullable=True),
    Column("idempotency_key", Text, nullable=True),
    Column("request_digest", LargeBinary(32), nullable=False),
    Column("traceparent", Text, nullable=True),
    Column("created_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("started_at", Double, nullable=True),
    Column("finished_at", Double, nullable=True),
    Column("owner", String(40), nullable=True),
    Column("lease_until", Double, nullable=True),
    Column("version", Integer, nullable=True),
    Column("run_time_ms", Double, nullable=True),
    Column("points", Integer, nullable=False),
    Column("server_timing", Text, nullable=False),
    Column("input", LargeBinary, nullable=True),
    Column("input_sha256", String(64), nullable=True),
    Column("input_size", BigInteger, nullable=False),
    Column("result", LargeBinary, nullable=True),
    Column("result_sha256", String(64), nullable=True),
    Column("result_size", BigInteger, nullable=True),
    Column("error", Text, nullable=True),
    Column("replica", Integer, nullable=True),
    Column("replica_pid", Integer, nullable=True),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("run_id"),
    UniqueConstraint("project", "deployment", "idempotency_key"),
    ForeignKeyConstraint(["project"], ["projects.name"]),
    Index(None, "state", "project", "deployment", "rank", "seq"),
    Index(None, "finished_at"),
    # All that lists filter by, so that no filter reads the rows it leaves out.
    Index(
        "ix_runs_list",
        "project",
        "created_at",
        "run_id",
        "deployment",
        "state",
        "version",
        "run_time_ms",
    ),
    # A number is never used twice, so that a cursor of a list stays good when runs are purged.
    sqlite_autoincrement=True,
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(40), nullable=False),
    Column("project", String(20), nullable=False),
    Column("deployment", String(20), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("url", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("next_attempt_at", Double, nullable=True),
    Column("created_at", Double, nullable=False),
    Column("delivered_at", Double, nullable=True),
    Column("last_status", Integer, nullable=True),
    Column("last_error", Text, nullable=True),
    PrimaryKeyConstraint("id"),
    Index(None, "state", "next_attempt_at"),
    Index(None, "run_id"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("delivery_id", String(40), nullable=False),
    Column("at", Double, nullable=False),
    Column("status", Integer, nullable=True),
    Column("error", Text, nullable=False),
    Column("took_ms", Double, nullable=False),
    PrimaryKeyConstraint("seq"),
    # Whoever forgets a run forgets its deliveries, and need not know of their attempts.
    ForeignKeyConstraint(["delivery_id"], ["webhook_deliveries.id"], ondelete="CASCADE"),
    Index(None, "delivery_id"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("project", String(20), nullable=False),
    Column("secret", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("shown_at", Double, nullable=True),
    Column("retired_at", Double, nullable=True),
    PrimaryKeyConstraint("seq"),
    ForeignKeyConstraint(["project"], ["projects.name"]),
    Index(None, "project"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("file_id", String(40), nullable=False),
    Column("project", String(20), nullable=False),
    Column("deployment", String(20), nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    PrimaryKeyConstraint("file_id"),
    ForeignKeyConstraint(["project"], ["projects.name"]),
    Index(None, "project", "created_at"),
    Index(None, "expires_at"),
)

# `sealed` is encrypted; the key is not in the database.
secrets = Table(
    "secrets",
    metadata,
    Column("project", String(20), nullable=False),
    Column("name", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("updated_by", Text, nullable=False),
    PrimaryKeyConstraint("project", "name"),
    ForeignKeyConstraint(["project"], ["projects.name"]),
)

# Without foreign keys: an entry outlives what it tells of.
audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("at", Double, nullable=False),
    Column("project", String(20), nullable=True),
    Column("key_id", String(40), nullable=False),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("target", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("details", Text, nullable=False),
    PrimaryKeyConstraint("seq"),
    Index(None, "project", "seq"),
    Index(None, "at"),
)
