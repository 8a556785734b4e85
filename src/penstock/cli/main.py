"""The `penstock` command: one typer application, one module of `penstock.cli` per command.

Commands whose libraries are not installed are left out, so `penstock login` works where the
server's libraries are missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import typer

from penstock.cli.output import fail
from penstock.core.errors import PenstockError

#: Commands in the order of `penstock --help`: name, module, and what that module needs installed.
#: A command is the function of its module that has the command's name (`list_` for `list`, and
#: `move_records` for `move-records`).
COMMANDS: list[tuple[str, str, tuple[str, ...]]] = [
    ("serve", "penstock.cli.serve", ("starlette", "uvicorn", "sqlalchemy", "httptools")),
    ("doctor", "penstock.cli.doctor", ("starlette", "uvicorn", "sqlalchemy", "httptools")),
    (
        "move-records",
        "penstock.cli.move_records",
        ("starlette", "uvicorn", "sqlalchemy", "httptools", "psycopg"),
    ),
    ("login", "penstock.cli.login", ()),
    ("deploy", "penstock.cli.deploy", ()),
    ("config", "penstock.cli.config", ()),
    ("predict", "penstock.cli.predict", ()),
    ("list", "penstock.cli.show", ()),
    ("show", "penstock.cli.show", ()),
    ("versions", "penstock.cli.show", ()),
    ("activate", "penstock.cli.change", ()),
    ("rollback", "penstock.cli.change", ()),
    ("scale", "penstock.cli.change", ()),
    ("delete", "penstock.cli.change", ()),
    ("runs", "penstock.cli.runs", ()),
    ("run", "penstock.cli.runs", ()),
    ("logs", "penstock.cli.logs", ()),
    ("top", "penstock.cli.top", ()),
    ("audit", "penstock.cli.audit", ()),
]

#: Groups of commands: name and module, whose `app` holds them.
GROUPS: list[tuple[str, str]] = [
    ("keys", "penstock.cli.keys"),
    ("secrets", "penstock.cli.secrets"),
    ("files", "penstock.cli.files"),
    ("webhooks", "penstock.cli.webhooks"),
]


def build(only: str | None = None) -> typer.Typer:
    """Return the application with the commands of every module that can be imported here.

    Args:
        only: The one command or group that is wanted, if that is known: the others stay unread.
    """
    app = typer.Typer(
        help="Serve flows of models with your own processing functions.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def penstock() -> None:
        """Serve flows of models with your own processing functions."""

    for name, module, needs in COMMANDS:
        if only not in {None, name}:
            continue
        if all(importlib.util.find_spec(library) is not None for library in needs):
            found = importlib.import_module(module)
            function = name.replace("-", "_")
            app.command(name)(getattr(found, f"{function}_", None) or getattr(found, function))
    for name, module in GROUPS:
        if only not in {None, name}:
            continue
        app.add_typer(importlib.import_module(module).app, name=name, no_args_is_help=True)
    return app


def _named() -> str | None:
    """Return the command that the command line begins with, or None."""
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    return first if first in {name for name, *_ in [*COMMANDS, *GROUPS]} else None


def main() -> None:
    """Run the command line; an error of ours is a sentence, or an object where JSON is asked."""
    try:
        build(_named())()
    except PenstockError as error:
        raise SystemExit(fail(error, "--json" in sys.argv[1:])) from None


if __name__ == "__main__":
    main()
