"""`penstock doctor`: examine a data folder, or a running server, and say what to do.

Exit status 0: no problem (there may be warnings); 1: problems; 2: it could not be examined.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.output import fail, say
from penstock.client.config import check_server
from penstock.client.server_checks import examine_server
from penstock.core.errors import PenstockError
from penstock.core.findings import Finding, Level, as_plain, is_well
from penstock.wiring.data_folder import default_folder
from penstock.wiring.environment_checks import examine_environments
from penstock.wiring.folder_checks import examine_folder
from penstock.wiring.machine_checks import examine_machine
from penstock.wiring.record_store import named_database

_SIGNS = {Level.OK: "✓", Level.WARNING: "!", Level.PROBLEM: "✗"}


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder to examine.")] = None,
    server: Annotated[
        str | None, typer.Option(help="Running server to examine instead of a folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check databases, files, disk and machine; with --server, a running server."""
    shown: list[Finding] = []
    try:
        for finding in _examine(data, server):
            shown.append(finding)
            if not as_json:
                _show(finding)
    except PenstockError as error:
        fail(error, as_json)
        raise typer.Exit(2) from None
    if as_json:
        say(json.dumps(as_plain(shown), indent=2))
    else:
        say(_summary(shown))
    raise typer.Exit(0 if is_well(shown) else 1)


def _summary(shown: list[Finding]) -> str:
    count = sum(finding.level is Level.PROBLEM for finding in shown)
    return {0: "No problems.", 1: "1 problem."}.get(count, f"{count} problems.")


def _examine(data: Path | None, server: str | None) -> Iterator[Finding]:
    found: Iterable[Finding]
    if server is not None:
        found = examine_server(check_server(server))
    else:
        folder = (data or default_folder()).expanduser().absolute()
        records = examine_folder(folder, _progress, named_database())
        found = itertools.chain(records, examine_environments(folder))
    return itertools.chain(found, examine_machine())


def _show(finding: Finding) -> None:
    say(f"{_SIGNS[finding.level]} {finding.subject:<12} {finding.message}")
    if finding.advice:
        say(f"  {'':<12} {finding.advice}")


def _progress(done: int, total: int) -> None:
    """Show how far the hashing of files is, where somebody watches."""
    if sys.stderr.isatty() and total:
        end = "\r" if done < total else "\r\033[K"
        print(f"  files: {100 * done // total} %", end=end, file=sys.stderr, flush=True)
