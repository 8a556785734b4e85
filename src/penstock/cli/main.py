"""The `penstock` command: one typer application, one module of `penstock.cli` per command.

Commands whose libraries are not installed are left out, so `penstock login` works where the
server's libraries are missing.
"""

from __future__ import annotations

import importlib
import importlib.util

import typer

from penstock.cli.output import fail
from penstock.core.errors import PenstockError

#: Commands in the order of `penstock --help`: name, module, and what that module needs installed.
#: A command is the function of its module that has the command's name (`list_` for `list`).
COMMANDS: list[tuple[str, str, tuple[str, ...]]] = [
    ("serve", "penstock.cli.serve", ("starlette", "uvicorn", "sqlalchemy", "httptools")),
    ("doctor", "penstock.cli.doctor", ("starlette", "uvicorn", "sqlalchemy", "httptools")),
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
]


def build() -> typer.Typer:
    """Return the application with the commands of every module that can be imported here."""
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
        if all(importlib.util.find_spec(library) is not None for library in needs):
            found = importlib.import_module(module)
            app.command(name)(getattr(found, f"{name}_", None) or getattr(found, name))
    return app


def main() -> None:
    """Run the command line; an error of ours is printed as a sentence, without a traceback."""
    try:
        build()()
    except PenstockError as error:
        raise SystemExit(fail(error)) from None


if __name__ == "__main__":
    main()
