"""`penstock serve`: start a server and keep it running until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.output import say, warn
from penstock.client.config import profile_path, read_profile, same_server, write_profile
from penstock.core.errors import PenstockError
from penstock.wiring.server_process import Announcement, serve_forever


def serve(
    data: Annotated[Path | None, typer.Option(help="Folder for records, files, memory.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Address that clients reach the server by.")
    ] = None,
    drain_s: Annotated[
        float | None, typer.Option(help="Seconds that calls in hand get at the end.")
    ] = None,
    gateways: Annotated[
        int | None, typer.Option(help="Processes that read requests on the port.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate for HTTPS (PEM), with those above it.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start a server. Further options are read from the environment (PENSTOCK_...)."""
    arguments = {
        "data_dir": data,
        "host": host,
        "port": port,
        "public_url": public_url,
        "drain_s": drain_s,
        "gateways": gateways,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "log_level": log_level,
    }
    raise typer.Exit(serve_forever(arguments, announce))


def announce(ready: Announcement) -> None:
    """Print the address, and on the first start the keys; save them to the user's profile."""
    say(f"Penstock is ready at {ready.url}")
    say(f"  data in {ready.data_dir}")
    if ready.fresh_keys:
        say("These keys are shown this once:")
        for scope, key in ready.fresh_keys.items():
            say(f"  {scope:<8} {key}")
        _save_profile(ready)
    say("Press Ctrl-C to stop.")


def _save_profile(ready: Announcement) -> None:
    """Write the deploy key to the profile, unless it is for another server or nobody's own.

    A server whose admin key was given from outside was started by a program: it writes none.
    """
    if "admin" not in ready.fresh_keys:
        return
    try:
        known = read_profile()
        if known.api_key and known.server and not same_server(known.server, ready.url):
            warn(f"Your profile is for {known.server} and stays so; see `penstock login`.")
            return
        path = write_profile(
            server=ready.url, api_key=ready.fresh_keys["deploy"], project=ready.project
        )
    except (PenstockError, OSError) as error:
        warn(f"The profile {profile_path()} could not be written: {error}")
        return
    say(f"The deploy key is saved to {path}.")
