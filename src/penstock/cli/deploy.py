"""`penstock deploy file.py:flow`: deploy the flow in a Python file.

Exit status 0: it serves (or was loaded here, with --dry-run); 1: the flow or a file cannot work, or
the server refuses it; 2: the command is wrong; 3: there is no server or no key; 4: the server took
it and the version cannot serve: it does not load, or fails its example.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.output import fail, say, warn
from penstock.client.conduit import Conduit
from penstock.client.endpoint import Endpoint
from penstock.client.flow_file import find_flow
from penstock.core.errors import InvalidCall, PenstockError


def deploy(
    target: Annotated[
        str, typer.Argument(metavar="FILE[:NAME]", help="flow.py:flow, flow.py, or conduit.json.")
    ],
    name: Annotated[
        str | None, typer.Argument(help="Name of the deployment; the file's by default.")
    ] = None,
    name_option: Annotated[
        str | None, typer.Option("--name", help="The same, as an option.", hidden=True)
    ] = None,
    server: Annotated[str | None, typer.Option(help="Address of the server.")] = None,
    project: Annotated[str | None, typer.Option(help="Project to deploy to.")] = None,
    example: Annotated[
        str | None, typer.Option(help="Data of a request to try, as JSON, or @file.json.")
    ] = None,
    example_file: Annotated[
        list[Path] | None, typer.Option(help="File of that request; may be repeated.")
    ] = None,
    requirement: Annotated[
        list[str] | None, typer.Option(help="Package the functions need; may be repeated.")
    ] = None,
    requirements_file: Annotated[
        Path | None, typer.Option(help="File of such packages, as pip reads it.")
    ] = None,
    python_version: Annotated[
        str | None, typer.Option(help="Python of the version's own environment, as 3.12.")
    ] = None,
    force_rebuild: Annotated[
        bool, typer.Option("--force-rebuild", help="Build the environment again.")
    ] = False,
    replicas: Annotated[str | None, typer.Option(help='Worker processes, or "auto".')] = None,
    min_replicas: Annotated[int | None, typer.Option(help="Fewest; 0 lets it sleep.")] = None,
    max_replicas: Annotated[int | None, typer.Option(help="Most worker processes.")] = None,
    cooldown: Annotated[float | None, typer.Option(help="Seconds until there are fewer.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Runs at once in a worker.")] = None,
    timeout_s: Annotated[float | None, typer.Option(help="Seconds a call may take.")] = None,
    max_batch: Annotated[int | None, typer.Option(help="Most rows of one model call.")] = None,
    hardware: Annotated[str | None, typer.Option(help="CPU or GPU.")] = None,
    cpu: Annotated[int | None, typer.Option(help="Cores a worker may keep busy.")] = None,
    memory: Annotated[float | None, typer.Option(help="GiB a worker may take.")] = None,
    gpu: Annotated[int | None, typer.Option(help="GPUs of one worker.")] = None,
    network: Annotated[
        str | None, typer.Option(help="What the functions may reach: all or none.")
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(help="Secret the functions may read; may be repeated.")
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(help="Log predictions there: parquet; may be repeated.")
    ] = None,
    check_locally: Annotated[
        bool | None, typer.Option(help="Require the example's answer of this machine.")
    ] = None,
    activate: Annotated[bool, typer.Option(help="Whether the new version shall serve.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load it here, try the example, send nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the URL only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Deploy the flow in a Python file. The key is that of `penstock login` or PENSTOCK_API_KEY."""
    given = {
        "project": project,
        "example_files": example_file,
        "requirements": requirement,
        "requirements_file": requirements_file,
        "python_version": python_version,
        "replicas": _replicas(replicas),
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
        "cooldown": cooldown,
        "concurrency": concurrency,
        "timeout_s": timeout_s,
        "max_batch": max_batch,
        "hardware": hardware,
        "cpu": cpu,
        "memory": memory,
        "gpu": gpu,
        "network": network,
        "secrets": secret,
        "check_locally": check_locally,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    options |= {"activate": False} if not activate else {}
    options |= {"force_rebuild": True} if force_rebuild else {}
    try:
        # With --json standard output is one object; the steps go beside it.
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            if example is not None:
                options["example"] = _example(example)
            conduit = _conduit(target, name or name_option, server, {**options, "quiet": quiet})
            for platform in log or ():
                conduit.add_logger(platform)
            done = conduit.deploy(dry_run)
            told = _tried(conduit) if dry_run else _deployed(done, quiet and not as_json)
    except PenstockError as error:
        raise typer.Exit(_failed(error, as_json)) from None
    if as_json:
        say(json.dumps(told, indent=2))
    elif dry_run and not quiet:
        say(f"{conduit.name} loads here" + (f" and answers {told['result']!r}." if told else "."))


def _conduit(target: str, name: str | None, server: str | None, options: dict[str, Any]) -> Conduit:
    found, usual = find_flow(target)
    if isinstance(found, Conduit):
        return found.with_options(name=name, server=server, **options)
    return Conduit(name or usual, None, found, server=server, **options)


def _replicas(given: str | None) -> int | str | None:
    if given is None or given == "auto":
        return given
    try:
        return int(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is neither a number nor auto") from None


def _example(given: str) -> Any:
    text, where = given, "--example"
    if given.startswith("@"):
        where = given[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidCall(f"{where} cannot be read: {error.strerror}.") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidCall(f"{where} is no JSON: {error}.") from None


def _tried(conduit: Conduit) -> dict[str, Any]:
    found = conduit.example_result
    return {} if found is None else {"result": found}


def _deployed(endpoint: Any, alone: bool) -> dict[str, Any]:
    assert isinstance(endpoint, Endpoint)
    if alone:
        say(endpoint.url)
    return {"name": endpoint.name, "endpoint": endpoint.url, "version": endpoint.version}


def _failed(error: PenstockError, as_json: bool) -> int:
    status = fail(error, as_json)
    if not as_json:
        for line in error.facts.get("logs", ())[-20:]:
            warn(f"  | {line}")
    return status
