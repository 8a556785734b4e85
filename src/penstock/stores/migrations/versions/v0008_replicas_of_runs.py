"""The replica that answered an asynchronous run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add its number and process; null means that none answered, or that it is not known."""
    for name in ("replica", "replica_pid"):
        op.add_column("runs", sa.Column(name, sa.Integer(), nullable=True))
