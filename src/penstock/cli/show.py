"""`penstock list`, `show` and `versions`: what is deployed."""

from __future__ import annotations

from typing import Any

from penstock.cli.options import (
    JsonOption,
    Name,
    ProjectOption,
    ServerOption,
    milliseconds,
    place,
    state_of,
    when,
)
from penstock.cli.output import say
from penstock.cli.tables import print_facts, print_json, print_table


def list_(
    project: ProjectOption = None, server: ServerOption = None, as_json: JsonOption = False
) -> None:
    """List the deployments of a project."""
    where = place(project, server)
    found = where.get("")["deployments"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["name", "state", "#version", "#replicas", "#calls", "#errors", "changed"],
        [_row(deployment) for deployment in found],
        f"Nothing is deployed in project {where.project} yet: penstock deploy file.py:flow",
    )


def _row(deployment: dict[str, Any]) -> list[str]:
    return [
        deployment["name"],
        state_of(deployment),
        str(deployment["active"] or "–"),
        str(len(deployment["replicas"])),
        str(deployment["calls"] or 0),
        str(deployment["errors"] or 0),
        when(deployment["updated_at"]),
    ]


def show(
    name: Name,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a deployment: its endpoint, state, replicas, and the figures of the last hour."""
    where = place(project, server)
    found = where.get(f"/{name}")
    figures = where.get(f"/{name}/traffic?range=1h")
    if as_json:
        print_json({**found, "traffic": figures["total"]})
        return
    total, scaling = figures["total"], found["scaling"] or {}
    problem = found["problem"] or found["quarantine"] or _never_ready(found) or {}
    print_facts(
        [
            ("endpoint", found["endpoint"]),
            ("state", state_of(found)),
            ("version", str(found["active"] or "none serves")),
            ("replicas", f"{len(found['replicas'])}  {scaling.get('why') or ''}".strip()),
            ("last hour", f"{total['calls']} calls, {total['errors']} errors"),
            ("p50 / p99", f"{milliseconds(total['p50_ms'])} / {milliseconds(total['p99_ms'])}"),
            ("problem", str(problem.get("message") or problem.get("reason") or "")),
        ]
    )
    active = next((v for v in found["versions"] if v["active"]), None)
    for number, stage in enumerate((active or {}).get("stages", []), 1):
        functions = ", ".join(role for role in ("pre", "post") if stage.get(role))
        say(f"stage {number}    {stage['model_type']} {stage['model']} {functions}".rstrip())


def _never_ready(found: dict[str, Any]) -> dict[str, Any] | None:
    """Return why the newest version failed, where none serves."""
    newest = max(found["versions"], key=lambda version: int(version["number"]), default=None)
    return newest["failure"] if newest and not found["active"] else None


def versions(
    name: Name,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a deployment, newest first."""
    found = place(project, server).get(f"/{name}/versions")["versions"]
    if as_json:
        print_json(found)
        return
    rows = [
        [
            str(version["number"]),
            version["state"] + (" · serves" if version["active"] else ""),
            f"{version['size_bytes'] / 1e6:,.1f} MB",
            when(version["created_at"]),
            str((version["failure"] or {}).get("message") or ""),
        ]
        for version in found
    ]
    print_table(["#version", "state", "#size", "deployed", "problem"], rows, "No versions.")
