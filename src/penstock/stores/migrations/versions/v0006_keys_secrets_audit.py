"""Grants, expiry and last use of keys; secrets; the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the two tables."""
    for name, kind in (
        ("deployments", sa.Text()),
        ("expires_at", sa.Double()),
        ("last_used_at", sa.Double()),
        ("rate_per_s", sa.Double()),
    ):
        op.add_column("api_keys", sa.Column(name, kind, nullable=True))
    op.add_column("api_keys", sa.Column("created_by", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "secrets",
        sa.Column("project", sa.String(20), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "name", name="pk_secrets"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_secrets_project_projects"),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("project", sa.String(20), nullable=True),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_project_seq", "audit", ["project", "seq"])
    op.create_index("ix_audit_at", "audit", ["at"])
