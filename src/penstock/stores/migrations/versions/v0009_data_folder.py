"""The data folder whose files the records name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add its table, empty: the next server that starts gives its folder an id."""
    op.create_table(
        "data_folder",
        sa.Column("folder_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("folder_id", name="pk_data_folder"),
    )
