"""`penstock top`: the deployments of a project as they work, in a terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from penstock.cli.options import (
    JsonOption,
    Place,
    ProjectOption,
    ServerOption,
    milliseconds,
    place,
    state_of,
)
from penstock.cli.tables import console, print_json, table
from penstock.core.errors import ServerUnreachable

_BARS = " ▁▂▃▄▅▆▇█"


def top(
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    project: ProjectOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch calls, errors, times and replicas of every deployment, live. q or Ctrl-C ends it."""
    where = place(project, server)
    if as_json:
        print_json(where.get("/traffic"))
        return
    if once or not console().is_terminal:
        console().print(_look(where))
        return
    try:
        _watch(where, every)
    except KeyboardInterrupt:
        return


def _watch(where: Place, every: float) -> None:
    """Look again and again; while the server is away the last figures stay, and say so."""
    shown, at = _look(where), time.strftime("%H:%M:%S")
    screen = Live(shown, console=console(), screen=True)
    with _quit_key() as asked_to_quit, _interrupts() as interrupts, screen as live:
        while not (asked_to_quit(every) or interrupts):
            try:
                shown, at = _look(where), time.strftime("%H:%M:%S")
            except ServerUnreachable:
                shown.title = f"No connection to {where.session.server}, these are from {at}"
            live.update(shown, refresh=True)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Yield what Ctrl-C is noted in: its exception may come where none is let through."""
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quit_key() -> Iterator[Callable[[float], bool]]:
    """Yield a function that waits so many seconds and tells whether `q` was pressed meanwhile."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield _only_wait
        return
    import select
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def pressed(seconds: float) -> bool:
        over = time.monotonic() + seconds
        while (left := over - time.monotonic()) > 0:
            if select.select([terminal], [], [], left)[0] and os.read(terminal, 1) in b"qQ":
                return True
        return False

    tty.setcbreak(terminal)
    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _only_wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _look(where: Place) -> Table:
    seen = {row["deployment"]: row for row in where.get("/traffic")["deployments"]}
    rows = [_row(found, seen.get(found["name"])) for found in where.get("")["deployments"]]
    columns = ["name", "state", "#calls/s", "#errors", "#p50", "#p99", "#replicas", "last hour"]
    made = table(columns, rows)
    made.title = f"{where.project} on {where.session.server}   {time.strftime('%H:%M:%S')}"
    made.title_justify = "left"
    return made


def _row(found: dict[str, Any], seen: dict[str, Any] | None) -> list[str]:
    now = (seen or {}).get("now") or {}
    return [
        found["name"],
        state_of(found),
        f"{now.get('calls_per_s') or 0:,.1f}",
        str(now.get("errors") or 0),
        milliseconds(now.get("p50_ms")),
        milliseconds(now.get("p99_ms")),
        str(len(found["replicas"])),
        sparkline((seen or {}).get("calls") or []),
    ]


def sparkline(values: list[float], width: int = 30) -> str:
    """Return `values` as a line of bars, the largest as high as the line.

    Args:
        values: Any number of them; neighbours are joined where they are more than `width`.
        width: Characters.
    """
    if not values:
        return ""
    step = max(1, -(-len(values) // width))
    joined = [max(values[i : i + step]) for i in range(0, len(values), step)]
    highest = max(joined)
    if not highest:
        return _BARS[0] * len(joined)
    return "".join(_BARS[-(-int(value / highest * 1000) * 8 // 1000)] for value in joined)
