"""The index that lists of runs are read from, whatever they are filtered by."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "ix_runs_list",
        "runs",
        ["project", "created_at", "run_id", "deployment", "state", "version", "run_time_ms"],
    )
