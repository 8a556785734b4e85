"""`penstock predict`: call a deployment from a terminal or a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.options import JsonOption, Name, ProjectOption, ServerOption, milliseconds, place
from penstock.cli.output import warn
from penstock.cli.tables import print_json
from penstock.core.errors import InvalidCall


def predict(
    name: Name,
    data: Annotated[
        str | None,
        typer.Argument(help="JSON; @file reads it from a file, - from standard input."),
    ] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="A file to send; repeat for more.")
    ] = None,
    parameters: Annotated[str | None, typer.Option(help="JSON object for this run.")] = None,
    version: Annotated[int | None, typer.Option(help="This version, active or not.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="With --no-wait: submit a run, print its id.")
    ] = True,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a deployment and print its result as JSON; times go to standard error."""
    endpoint = place(project, server).endpoint(name)
    value = _read(data) if data is not None else [] if file else None
    given = _parse(parameters, "--parameters") if parameters else None
    if not wait:
        if version is not None:
            raise InvalidCall("A run is of the version that serves: leave --version out.")
        run = endpoint.submit(value, file, given)
        print_json({"run_id": run.run_id, "state": run.state}) if as_json else print(run.run_id)
        return
    answer = (
        endpoint.call(value, file, given)
        if version is None
        else endpoint.call_version(version, value, file, given)
    )
    if as_json:
        print_json(
            {
                "result": answer.result,
                "run_id": answer.run_id,
                "run_time_ms": answer.run_time_ms,
                "prediction_ids": answer.prediction_ids,
            }
        )
        return
    print_json(answer.result)
    parts = "  ".join(f"{part} {milliseconds(ms)}" for part, ms in answer.server_timing.items())
    warn(f"{answer.run_id}  {milliseconds(answer.run_time_ms)}  {parts}".rstrip())


def _read(data: str) -> Any:
    if data == "-":
        return _parse(sys.stdin.read(), "standard input")
    if data.startswith("@"):
        try:
            return _parse(Path(data[1:]).read_text("utf-8"), data[1:])
        except OSError as error:
            raise InvalidCall(f"{data[1:]} cannot be read: {error.strerror}.") from None
    return _parse(data, "the data")


def _parse(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidCall(
            f"{what[0].upper()}{what[1:]} is not JSON: {error}.",
            hint="In a shell, put it between single quotes: '[[1, 2], [3, 4]]'.",
        ) from None
