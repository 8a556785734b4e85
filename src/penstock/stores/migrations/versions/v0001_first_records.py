"""Projects, keys, deployments and versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first four tables."""
    _create_projects_and_keys()
    _create_deployments_and_versions()


def _create_projects_and_keys() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_projects"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("prefix", sa.String(40), nullable=False),
        sa.Column("scope", sa.String(10), nullable=False),
        sa.Column("project", sa.String(20), nullable=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name="fk_api_keys_project_projects"
        ),
    )
    op.create_index("ix_api_keys_project", "api_keys", ["project"])


def _create_deployments_and_versions() -> None:
    op.create_table(
        "deployments",
        sa.Column("project", sa.String(20), nullable=False),
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("active", sa.Integer, nullable=True),
        sa.Column("next_number", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("deleted_at", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("project", "name", name="pk_deployments"),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name="fk_deployments_project_projects"
        ),
        sa.CheckConstraint("next_number >= 1", name="ck_deployments_next_number"),
    )
    op.create_table(
        "versions",
        sa.Column("project", sa.String(20), nullable=False),
        sa.Column("deployment", sa.String(20), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("ready_at", sa.Double, nullable=True),
        sa.Column("failure", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("project", "deployment", "number", name="pk_versions"),
        sa.ForeignKeyConstraint(
            ["project", "deployment"],
            ["deployments.project", "deployments.name"],
            name="fk_versions_project_deployment_deployments",
        ),
    )
