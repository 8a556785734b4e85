"""Prints answers of the server: as JSON, or as tables and facts for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_json(value: Any) -> None:
    """Print `value` as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def console() -> Console:
    """Return where people read: as wide as the terminal, 120 columns in a pipe."""
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = 120
    return made


#: Columns whose texts people copy.
_IDS = frozenset({"id", "run"})


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table; a column whose name begins with `#` holds numbers, an id is never cut."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    found = list(rows)
    for place, name in enumerate(columns):
        made.add_column(
            name.lstrip("#"),
            justify="right" if name.startswith("#") else "left",
            min_width=max((len(row[place]) for row in found), default=0) if name in _IDS else None,
        )
    for row in found:
        made.add_row(*(Text(cell) for cell in row))
    return made


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Print a table, or `empty` when it has no row."""
    found = list(rows)
    if found:
        console().print(table(columns, found))
    else:
        print(empty, flush=True)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    shown = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}", flush=True)
