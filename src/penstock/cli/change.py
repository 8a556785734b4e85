"""`penstock activate`, `rollback`, `scale` and `delete`: change what serves."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.options import (
    JsonOption,
    Name,
    ProjectOption,
    ServerOption,
    YesOption,
    place,
)
from penstock.cli.output import say
from penstock.cli.tables import print_json
from penstock.client.session import CHANGE_S


def activate(
    name: Name,
    version: Annotated[int, typer.Argument(help="Number of the version that shall serve.")],
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a version serve; the URL stays and no call fails meanwhile."""
    place(project, server).endpoint(name).activate(version)
    _say_active(name, version, as_json)


def rollback(
    name: Name,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the newest ready version before the active one serve."""
    _say_active(name, place(project, server).endpoint(name).rollback(), as_json)


def _say_active(name: str, version: int, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "active": version})
    else:
        say(f"Version {version} of {name} serves.")


def scale(
    name: Name,
    least: Annotated[int | None, typer.Option("--min", help="Fewest replicas; 0 sleeps.")] = None,
    most: Annotated[int | None, typer.Option("--max", help="Most replicas.")] = None,
    cooldown: Annotated[
        float | None, typer.Option(help="Seconds after the last call until it has --min again.")
    ] = None,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change how many replicas a deployment may have."""
    where = place(project, server)
    where.endpoint(name).scale(least, most, cooldown)
    scaling = where.get(f"/{name}")["scaling"]
    if as_json:
        print_json(scaling)
        return
    high = scaling["max_replicas"] or "as many as the cores"
    say(
        f"{name} has {scaling['min_replicas']} to {high} replicas, "
        f"cooldown {scaling['cooldown_s']:g} s."
    )


def delete(
    name: Name,
    version: Annotated[
        int | None, typer.Option(help="Only this version, which must not serve.")
    ] = None,
    yes: YesOption = False,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a deployment with its versions, saved values and history, or one version."""
    where = place(project, server)
    what = f"{name} with all its versions" if version is None else f"version {version} of {name}"
    if not yes:
        typer.confirm(f"Delete {what} from project {where.project}?", abort=True)
    if version is None:
        where.endpoint(name).delete()
    else:
        where.session.delete(f"/v1/{where.project}/{name}/versions/{version}", limit_s=CHANGE_S)
    if as_json:
        print_json({"name": name, "deleted": version or "all"})
    else:
        say(f"Deleted {what}.")
