"""`penstock runs` and `run`: what calls did, one by one."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from penstock.cli.options import (
    JsonOption,
    ProjectOption,
    ServerOption,
    milliseconds,
    place,
    when,
)
from penstock.cli.output import say
from penstock.cli.tables import print_facts, print_json, print_table

_BAR = 40


def runs(
    deployment: Annotated[str | None, typer.Argument(help="Only of this deployment.")] = None,
    state: Annotated[
        str | None, typer.Option(help="queued, running, succeeded, failed, cancelled; commas.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Only of this version.")] = None,
    kind: Annotated[str | None, typer.Option(help="sync or async.")] = None,
    min_ms: Annotated[float | None, typer.Option(help="Took at least this long.")] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 20,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first. Of good calls that waited for their answer a sample is kept."""
    asked = {
        "deployment": deployment,
        "state": state,
        "version": version,
        "kind": kind,
        "min_ms": min_ms,
        "limit": limit,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    found = place(project, server).get(f"/runs?{query}")["runs"]
    if as_json:
        print_json(found)
        return
    rows = [
        [
            run["run_id"],
            f"{run['deployment']} {run['version'] or ''}".strip(),
            run["state"] + (f" · {run['error_code']}" if run["error_code"] else ""),
            run["kind"],
            milliseconds(run["run_time_ms"]),
            when(run["created_at"]),
        ]
        for run in found
    ]
    print_table(["run", "deployment", "state", "kind", "#time", "began"], rows, "No such runs.")


def run(
    run_id: Annotated[str, typer.Argument(help="Id of the run; every answer has it.")],
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Print its log, too.")] = False,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: where its time went, its error, its result."""
    where = place(project, server)
    if cancel:
        where.session.post(f"/v1/{where.project}/runs/{run_id}/cancel")
    found = where.get(f"/runs/{run_id}/details")
    lines = where.get(f"/runs/{run_id}/logs")["lines"] if logs else []
    if as_json:
        print_json({**found, "logs": lines} if logs else found)
        return
    _print_run(found)
    for line in lines:
        say(f"{line['level']:<8} {line['text']}")


def _print_run(found: dict[str, Any]) -> None:
    summary, error = found["run"], found["error"] or {}
    print_facts(
        [
            ("run", summary["run_id"]),
            ("of", f"{summary['deployment']} version {summary['version'] or '–'}"),
            ("state", summary["state"]),
            ("replica", _replica(summary.get("replica"))),
            ("began", when(summary["created_at"])),
            ("took", milliseconds(summary["run_time_ms"])),
            ("error", str(error.get("message") or "")),
            ("  do", str(error.get("hint") or "")),
            ("input", str(found["input"]["text"] or "")[:200]),
            ("result", str((found["result"] or {}).get("text") or "")[:200]),
        ]
    )
    whole = summary["run_time_ms"] or 0.0
    for part in found["timeline"]:
        if whole and part["ms"] is not None and part["start_ms"] is not None:
            say(_waterfall(part, whole))


def _replica(told: dict[str, int] | None) -> str:
    """Return which replica answered in words, empty where it is not known."""
    return "" if told is None else f"{told['number']}, process {told['pid']}"


def _waterfall(part: dict[str, Any], whole: float) -> str:
    before = min(_BAR - 1, int(_BAR * part["start_ms"] / whole))
    length = min(_BAR - before, max(1, round(_BAR * part["ms"] / whole)))
    bar = " " * before + "█" * length
    return f"{part['name']:<16} {bar:<{_BAR}} {milliseconds(part['ms'])}"
