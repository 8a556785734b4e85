"""The trace that an asynchronous run is part of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; null means that its request had no `traceparent`."""
    op.add_column("runs", sa.Column("traceparent", sa.Text(), nullable=True))
