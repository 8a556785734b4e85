"""Alembic runs this file for every command; the connection is handed in by `stores.migrate`.

All steps of one upgrade run in the caller's transaction, so a crash leaves the old schema whole.
"""

from __future__ import annotations

from alembic import context

from penstock.stores.migrate import VERSION_TABLE
from penstock.stores.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
