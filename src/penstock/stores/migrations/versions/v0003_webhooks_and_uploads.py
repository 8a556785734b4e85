"""Attempts and secrets of webhooks, and the files that processing functions uploaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the three tables."""
    _create_webhook_attempts()
    _create_webhook_secrets()
    _create_uploads()


def _create_webhook_attempts() -> None:
    op.create_table(
        "webhook_attempts",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("delivery_id", sa.String(40), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("status", sa.Integer, nullable=True),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("took_ms", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_webhook_attempts"),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["webhook_deliveries.id"],
            name="fk_webhook_attempts_delivery_id_webhook_deliveries",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_webhook_attempts_delivery_id", "webhook_attempts", ["delivery_id"])


def _create_webhook_secrets() -> None:
    op.create_table(
        "webhook_secrets",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("project", sa.String(20), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("shown_at", sa.Double, nullable=True),
        sa.Column("retired_at", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_webhook_secrets"),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name="fk_webhook_secrets_project_projects"
        ),
    )
    op.create_index("ix_webhook_secrets_project", "webhook_secrets", ["project"])


def _create_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("file_id", sa.String(40), nullable=False),
        sa.Column("project", sa.String(20), nullable=False),
        sa.Column("deployment", sa.String(20), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("file_id", name="pk_uploads"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_uploads_project_projects"),
    )
    op.create_index("ix_uploads_project_created_at", "uploads", ["project", "created_at"])
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"])
