"""How many replicas a deployment may have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the three columns; null means that the version decides."""
    for name, kind in (
        ("min_replicas", sa.Integer()),
        ("max_replicas", sa.Integer()),
        ("cooldown_s", sa.Double()),
    ):
        op.add_column("deployments", sa.Column(name, kind, nullable=True))
