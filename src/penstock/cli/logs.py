"""`penstock logs`: what functions printed and logged, and what loading said."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from penstock.cli.options import JsonOption, Name, Place, ProjectOption, ServerOption, place
from penstock.cli.output import say

_WAIT_S = 20


def logs(
    name: Name,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as lines come, until Ctrl-C.")
    ] = False,
    version: Annotated[int | None, typer.Option(help="Only of this version.")] = None,
    level: Annotated[
        str | None, typer.Option(help="print, stderr, output, or a level of logging; commas.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Only lines that hold this text.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many.", min=1, max=1000)] = 100,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last lines of a deployment's log; with --json one object a line."""
    where = place(project, server)
    asked = {"version": version, "level": level, "text": text, "limit": lines}
    found = _ask(where, name, asked)
    _print(found["lines"], as_json)
    try:
        while follow:
            found = _ask(where, name, {**asked, "after": found["last"], "wait": _WAIT_S})
            _print(found["lines"], as_json)
    except KeyboardInterrupt:
        return


def _ask(where: Place, name: str, asked: dict[str, Any]) -> dict[str, Any]:
    query = urlencode({key: value for key, value in asked.items() if value is not None})
    found: dict[str, Any] = where.get(f"/{name}/logs?{query}")
    return found


def _print(lines: Iterable[dict[str, Any]], as_json: bool) -> None:
    for line in lines:
        if as_json:
            say(json.dumps(line, ensure_ascii=False))
            continue
        at = time.strftime("%H:%M:%S", time.localtime(line["at"]))
        place_of_it = f" stage {line['stage']} {line['function']}" if line["stage"] else ""
        run = f" {line['run_id']}" if line["run_id"] else ""
        say(f"{at} {line['level']:<8} v{line['version']}{place_of_it}{run}  {line['text']}")
