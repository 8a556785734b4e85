"""Asynchronous runs, and the deliveries that tell webhooks of their end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the two tables."""
    _create_runs()
    _create_webhook_deliveries()


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("project", sa.String(20), nullable=False),
        sa.Column("deployment", sa.String(20), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker_deaths", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("timeout_s", sa.Double, nullable=True),
        sa.Column("webhook_url", sa.Text, nullable=True),
        sa.Column("idempotency_key", sa.Text, nullable=True),
        sa.Column("request_digest", sa.LargeBinary(32), nullable=False),
        *_times_and_holder(),
        *_payloads(),
        sa.PrimaryKeyConstraint("seq", name="pk_runs"),
        sa.UniqueConstraint("run_id", name="uq_runs_run_id"),
        sa.UniqueConstraint(
            "project",
            "deployment",
            "idempotency_key",
            name="uq_runs_project_deployment_idempotency_key",
        ),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_runs_project_projects"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_runs_state_project_deployment_rank_seq",
        "runs",
        ["state", "project", "deployment", "rank", "seq"],
    )
    op.create_index("ix_runs_finished_at", "runs", ["finished_at"])


def _times_and_holder() -> list[sa.Column[object]]:
    return [
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double, nullable=True),
        sa.Column("finished_at", sa.Double, nullable=True),
        sa.Column("owner", sa.String(40), nullable=True),
        sa.Column("lease_until", sa.Double, nullable=True),
        sa.Column("version", sa.Integer, nullable=True),
        sa.Column("run_time_ms", sa.Double, nullable=True),
        sa.Column("points", sa.Integer, nullable=False),
        sa.Column("server_timing", sa.Text, nullable=False),
    ]


def _payloads() -> list[sa.Column[object]]:
    return [
        sa.Column("input", sa.LargeBinary, nullable=True),
        sa.Column("input_sha256", sa.String(64), nullable=True),
        sa.Column("input_size", sa.BigInteger, nullable=False),
        sa.Column("result", sa.LargeBinary, nullable=True),
        sa.Column("result_sha256", sa.String(64), nullable=True),
        sa.Column("result_size", sa.BigInteger, nullable=True),
        sa.Column("error", sa.Text, nullable=True),
    ]


def _create_webhook_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("project", sa.String(20), nullable=False),
        sa.Column("deployment", sa.String(20), nullable=False),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", sa.Double, nullable=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("delivered_at", sa.Double, nullable=True),
        sa.Column("last_status", sa.Integer, nullable=True),
        sa.Column("last_error", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
    )
    op.create_index(
        "ix_webhook_deliveries_state_next_attempt_at",
        "webhook_deliveries",
        ["state", "next_attempt_at"],
    )
    op.create_index("ix_webhook_deliveries_run_id", "webhook_deliveries", ["run_id"])
