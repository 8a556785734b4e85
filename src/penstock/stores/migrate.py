"""Brings a records database to the schema this code knows; called when a record store opens.

The steps are alembic's, run from code: there is no ini file. Alembic itself is imported only when
there is something to do, because a server that is already up to date should start at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from penstock.core.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest step in `migrations/versions`; a test compares the two.
HEAD = "0009"

VERSION_TABLE = "schema_version"

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: sa.Connection, where: str) -> None:
    """Run the steps that are missing, inside the transaction `connection` is in.

    Args:
        connection: In a transaction, which the caller commits.
        where: What the database is called in messages.

    Raises:
        StoreError: The database was written by a newer Penstock.
    """
    found = revision(connection)
    if found == HEAD:
        return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config(connection)
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"{where} has schema {found}; this Penstock knows schemas up to {HEAD}.",
            hint="Install the Penstock that wrote it or a newer one, or choose another folder.",
        )
    command.upgrade(config, "head")


def revision(connection: sa.Connection) -> str | None:
    """Return the schema step the database is at; None for an empty database."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    table = sa.table(VERSION_TABLE, sa.column("version_num"))
    found: str | None = connection.execute(sa.select(table.c.version_num)).scalar()
    return found


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
