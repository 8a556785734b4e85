"""`penstock files`: list, fetch and delete the files that processing functions handed out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.options import (
    JsonOption,
    Place,
    ProjectOption,
    ServerOption,
    YesOption,
    place,
    when,
)
from penstock.cli.output import say
from penstock.cli.tables import print_json, print_table
from penstock.core.errors import InvalidCall, NotFound

app = typer.Typer(help="Files that processing functions handed out with upload().")

FileId = Annotated[str, typer.Argument(help="Id of the file, as `penstock files list` shows it.")]


@app.command("list")
def list_files(
    project: ProjectOption = None, server: ServerOption = None, as_json: JsonOption = False
) -> None:
    """List the files that are not expired, newest first."""
    found = place(project, server).get("/files")
    if as_json:
        print_json(found)
        return
    rows = [
        (f["file_id"], f["name"], f["deployment"], f"{f['size']:,}", when(f["expires_at"]))
        for f in found["files"]
    ]
    columns = ("id", "name", "deployment", "#bytes", "until")
    print_table(columns, rows, "No file was handed out, or all have expired.")


@app.command("get")
def get_file(
    file_id: FileId,
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write; its own name here by default.")
    ] = None,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a file. One that is there is not overwritten."""
    where = place(project, server)
    found = _found(where, file_id)
    path = to if to is not None else Path(Path(found["name"]).name)
    if path.exists():
        raise InvalidCall(f"{path} exists.", hint="Name another file with --to.")
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            where.session.fetch(_address(found["url"]), file.write)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    if as_json:
        print_json({"file_id": file_id, "path": str(path), "size": path.stat().st_size})
    else:
        say(f"Wrote {path}.")


@app.command("delete")
def delete_file(
    file_id: FileId,
    yes: YesOption = False,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a file; its address answers 410 from then on."""
    where = place(project, server)
    found = _found(where, file_id)
    if not yes:
        typer.confirm(f"Delete {found['name']} of {found['deployment']}?", abort=True)
    where.session.delete(f"/v1/{where.project}/files/{quote(file_id)}")
    if as_json:
        print_json({"deleted": file_id})
    else:
        say(f"Deleted {found['name']}.")


def _found(where: Place, file_id: str) -> dict[str, Any]:
    for one in where.get("/files")["files"]:
        if one["file_id"] == file_id:
            return dict(one)
    raise NotFound(
        f"There is no file {file_id!r} in project {where.project!r}.",
        hint="`penstock files list` shows those that are not expired.",
    )


def _address(url: str) -> str:
    """Return the path of a signed address: it is fetched the way that the server was reached."""
    return "/" + url.partition("://")[2].partition("/")[2]
