"""`penstock webhooks`: the log of deliveries, sending again or no more, the signing secret."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from penstock.cli.options import (
    JsonOption,
    ProjectOption,
    ServerOption,
    YesOption,
    place,
    when,
)
from penstock.cli.output import say
from penstock.cli.tables import print_json, print_table

app = typer.Typer(help="Webhooks that tell of the ends of runs: deliveries and signing secret.")

DeliveryId = Annotated[
    str, typer.Argument(help="Id of the delivery, as `penstock webhooks list` shows it.")
]


@app.command("list")
def list_deliveries(
    deployment: Annotated[str | None, typer.Argument(help="Only of this deployment.")] = None,
    state: Annotated[
        str | None, typer.Option(help="pending, delivered, failed or cancelled.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Only of the run of this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 20,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deliveries, newest first."""
    asked = {"deployment": deployment, "state": state, "run_id": run, "limit": limit}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    found = place(project, server).get(f"/webhooks/deliveries?{query}")
    if as_json:
        print_json(found)
        return
    rows = [
        (d["id"], d["deployment"], d["state"], str(d["attempt"]), d["url"])
        for d in found["deliveries"]
    ]
    columns = ("id", "deployment", "state", "#attempts", "URL")
    print_table(columns, rows, "There are no such deliveries.")


@app.command("show")
def show_delivery(
    delivery_id: DeliveryId,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a delivery and its latest attempts."""
    found = place(project, server).get(f"/webhooks/deliveries/{quote(delivery_id)}")
    if as_json:
        print_json(found)
        return
    delivery = found["delivery"]
    say(f"{delivery['id']} is {delivery['state']}; run {delivery['run_id']}, {delivery['url']}")
    if delivery["next_attempt_at"] is not None:
        say(f"The next attempt is at {when(delivery['next_attempt_at'])}.")
    rows = [
        (when(a["at"]), str(a["status"] or "–"), f"{a['took_ms']:,.0f}", a["error"] or "")
        for a in found["attempts"]
    ]
    print_table(("at", "#status", "#ms", "error"), rows, "It was not tried yet.")


@app.command("redeliver")
def redeliver(
    delivery_id: DeliveryId,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a webhook again, now, under the same id; also one that was delivered."""
    where = place(project, server)
    path = f"/v1/{where.project}/webhooks/deliveries/{quote(delivery_id)}/redeliver"
    found = where.session.post(path)
    if as_json:
        print_json(found)
    else:
        say(f"Sending {delivery_id} to {found['url']}.")


@app.command("cancel")
def cancel(
    delivery_id: Annotated[
        str | None, typer.Argument(help="Id of one delivery, as `penstock webhooks list` shows it.")
    ] = None,
    receiver: Annotated[
        str | None, typer.Option(help="A URL of a receiver: all that waits for it.")
    ] = None,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a webhook no more, or none of those that wait for a receiver."""
    if (delivery_id is None) == (receiver is None):
        raise typer.BadParameter("Name a delivery, or a receiver with --receiver.")
    where = place(project, server)
    path = f"/v1/{where.project}/webhooks/deliveries"
    if delivery_id is not None:
        found = where.session.post(f"{path}/{quote(delivery_id)}/cancel")
        said = f"{delivery_id} is {found['state']}."
    else:
        found = where.session.post(f"{path}/cancel", {"url": receiver})
        said = f"{found['cancelled']} deliveries are not sent any more."
    if as_json:
        print_json(found)
    else:
        say(said)


@app.command("secret")
def secret(
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new one; the old one signs too for a day.")
    ] = False,
    yes: YesOption = False,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the signing secret, which receivers check signatures with. It is shown once."""
    where = place(project, server)
    path = f"/v1/{where.project}/webhooks/secret"
    if rotate and not yes:
        typer.confirm(f"Replace the signing secret of {where.project}?", abort=True)
    found = where.session.post(path) if rotate else where.session.get(path)
    if as_json:
        print_json(found)
    else:
        say(found["secret"])
