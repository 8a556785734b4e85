"""`penstock serve`: start a server and keep it running until it is told to stop."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from penstock.cli.output import say, warn
from penstock.client.config import profile_path, read_profile, same_server, write_profile
from penstock.core.errors import PenstockError
from penstock.wiring.server_process import (
    Announcement,
    SettingDoc,
    describe_settings,
    serve_forever,
)

#: Types of options as typer takes them.
_KINDS: dict[str, Any] = {
    "Path": Path | None,
    "str": str | None,
    "int": int | None,
    "float": float | None,
}

#: Shorter names of flags.
_SHORT = {"data_dir": ("--data",)}


def serve(**arguments: object) -> None:
    """Start a server. Every option can also be given in the environment (PENSTOCK_...)."""
    _leave(serve_forever(arguments, announce))


def _leave(status: int) -> NoReturn:
    """End the process, with everything closed.

    Python would free each module and object first, which takes longer than all of the stop.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _flag(setting: SettingDoc) -> inspect.Parameter:
    """Return the parameter that makes typer offer an option of the server."""
    names = [setting.flag, *_SHORT.get(setting.name, ())]
    shown = f" Default: {setting.default}." if setting.default else ""
    value = typer.Option(None, *names, help=setting.doc + shown)
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=value,
        annotation=_KINDS[setting.type],
    )


_FLAGS = [_flag(setting) for setting in describe_settings() if setting.flag]

# Typer reads a command's options from its signature and its annotations.
serve.__signature__ = inspect.Signature(_FLAGS)  # type: ignore[attr-defined]
serve.__annotations__ = {flag.name: flag.annotation for flag in _FLAGS}


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
