"""`penstock move-records`: from the SQLite file of a data folder to PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.options import JsonOption
from penstock.cli.output import say
from penstock.cli.tables import print_json
from penstock.core.errors import InvalidSetting
from penstock.wiring.data_folder import default_folder
from penstock.wiring.record_store import move_records as move
from penstock.wiring.record_store import named_database


def move_records(
    data: Annotated[Path | None, typer.Option(help="Data folder whose records go.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a stopped server's records to the empty database that PENSTOCK_DATABASE names."""
    url = named_database()
    if url is None:
        raise InvalidSetting(
            "PENSTOCK_DATABASE is not set: it names the database that the records go to.",
            hint="PENSTOCK_DATABASE=postgresql://user:password@host/name penstock move-records",
        )
    folder = (data or default_folder()).expanduser().absolute()
    copied = move(folder, url)
    if as_json:
        print_json({"from": str(folder), "to": url.shown, "rows": copied})
        return
    for table, rows in copied.items():
        if rows:
            say(f"{rows:>9} {table}")
    say(f"The records of {folder} are in {url.shown}; records.sqlite.moved is what they were.")
