"""`penstock top`: the deployments of a project as they work, in a terminal."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from penstock.cli.options import (
    JsonOption,
    Place,
    ProjectOption,
    ServerOption,
    milliseconds,
    place,
)
from penstock.cli.tables import console, print_json, table

_BARS = " ▁▂▃▄▅▆▇█"


def top(
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch calls, errors, times and replicas of every deployment, live. Ctrl-C ends it."""
    where = place(project, server)
    if as_json:
        print_json(where.get("/traffic"))
        return
    if once:
        console().print(_look(where))
        return
    try:
        with Live(_look(where), console=console(), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(every)
                live.update(_look(where), refresh=True)
    except KeyboardInterrupt:
        return


def _look(where: Place) -> Table:
    seen = {row["deployment"]: row for row in where.get("/traffic")["deployments"]}
    rows = [_row(found, seen.get(found["name"])) for found in where.get("")["deployments"]]
    columns = ["name", "state", "#calls/s", "#errors", "#p50", "#p99", "#replicas", "last hour"]
    made = table(columns, rows)
    made.title = f"{where.project} on {where.session.server}   {time.strftime('%H:%M:%S')}"
    made.title_justify = "left"
    return made


def _row(found: dict[str, Any], seen: dict[str, Any] | None) -> list[str]:
    now = (seen or {}).get("now") or {}
    return [
        found["name"],
        found["state"],
        f"{now.get('calls_per_s') or 0:,.1f}",
        str(now.get("errors") or 0),
        milliseconds(now.get("p50_ms")),
        milliseconds(now.get("p99_ms")),
        str(len(found["replicas"])),
        sparkline((seen or {}).get("calls") or []),
    ]


def sparkline(values: list[float], width: int = 30) -> str:
    """Return `values` as a line of bars, the largest as high as the line.

    Args:
        values: Any number of them; neighbours are joined where they are more than `width`.
        width: Characters.
    """
    if not values:
        return ""
    step = max(1, -(-len(values) // width))
    joined = [max(values[i : i + step]) for i in range(0, len(values), step)]
    highest = max(joined)
    if not highest:
        return _BARS[0] * len(joined)
    return "".join(_BARS[-(-int(value / highest * 1000) * 8 // 1000)] for value in joined)
