"""What `deploy` shows while it works: each step once, a bar for the upload, then the endpoint.

Lines are printed to standard output as they are, never wrapped, so a program may read them; the
endpoint's line is exactly `🌍 Endpoint: <url>`. The bar is drawn by Rich, in a terminal and in a
notebook; there is none when output goes elsewhere or when `CI` is set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

TERMINAL, NOTEBOOK, PLAIN = "terminal", "notebook", "plain"

#: Called with the number of bytes just sent.
Advance = Callable[[int], None]

#: Makes a bar, which draws itself again and again if it is live.
MakeBar = Callable[[bool], "Progress"]


class Reporter:
    """Prints the steps of one deploy. With `quiet=True` it prints nothing at all."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._said: set[str] = set()
        self._work: Progress | None = None

    def step(self, text: str) -> None:
        """Say that something is done or begins; the same words are said once only."""
        if text not in self._said:
            self._said.add(text)
            self.line(f"• {text}")

    def detail(self, text: str) -> None:
        """Add to the step before."""
        self.line(f"    {text}")

    def begin_work(self, text: str) -> None:
        """Say that something begins that may take minutes, and show in a terminal that it goes on.

        Lines that are printed meanwhile stand above; `end_work` must follow.
        """
        self.step(text)
        self.end_work()
        if not self._quiet and surroundings() == TERMINAL:
            self._work = _working_line()
            self._work.add_task("working")
            self._work.start()

    def work(self, text: str) -> None:
        """Add to what `begin_work` began: a line that stays, and what it does just now."""
        self.detail(text)
        if self._work is not None:
            self._work.update(self._work.task_ids[0], description=text)

    def end_work(self) -> None:
        """Take away what `begin_work` shows."""
        if self._work is not None:
            self._work.stop()
            self._work = None

    def warn(self, text: str) -> None:
        """Say that something deserves a look."""
        self.line(f"  ! {text}")

    def endpoint(self, url: str, curl: str) -> None:
        """Say where the endpoint is and how to call it from a shell.

        Args:
            url: The endpoint.
            curl: A command that calls it.
        """
        self.line(f"🌍 Endpoint: {url}")
        self.line(curl)

    def line(self, text: str) -> None:
        """Print one line as it is."""
        if self._quiet or sys.stdout is None:
            return
        try:
            print(text, flush=True)  # noqa: T201 - printing is what this class is for
        except UnicodeEncodeError:
            encoding = sys.stdout.encoding or "ascii"
            plain = text.encode(encoding, "replace").decode(encoding)
            print(plain, flush=True)  # noqa: T201

    @contextmanager
    def transfer(self, total: int) -> Iterator[Advance]:
        """Show how much of `total` bytes was sent while the block runs.

        Yields:
            A function to be called with the number of bytes just sent.
        """
        with _shown(_upload_bar, total, quiet=self._quiet) as advance:
            yield advance


@contextmanager
def counting(what: str, total: int) -> Iterator[Advance]:
    """Show how many of `total` things are done while the block runs.

    Args:
        what: Their name, in the plural.
        total: How many there are.

    Yields:
        A function to be called with the number of things just done.
    """
    with _shown(lambda live: _counting_bar(what, live), total, quiet=False) as advance:
        yield advance


@contextmanager
def _shown(make: MakeBar, total: int, *, quiet: bool) -> Iterator[Advance]:
    where = PLAIN if quiet or total == 0 else surroundings()
    if where == TERMINAL:
        with _terminal_bar(make, total) as advance:
            yield advance
    elif where == NOTEBOOK:
        with _notebook_bar(make, total) as advance:
            yield advance
    else:
        yield _ignore


def surroundings() -> str:
    """Return where output goes: `terminal`, `notebook`, or `plain` when nothing may move."""
    out: Any = sys.stdout
    if out is None or os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        return PLAIN
    # The kernel replaces standard output by a stream of its own.
    if type(out).__module__.partition(".")[0] == "ipykernel":
        return NOTEBOOK
    if os.environ.get("TERM") == "dumb":
        return PLAIN
    return TERMINAL if out.isatty() else PLAIN


def _ignore(_sent: int) -> None:
    """Take a count and show nothing."""


def _counting_bar(what: str, live: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn(f"  {what}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(force_jupyter=False),
        transient=True,
        auto_refresh=live,
    )


def _working_line() -> Progress:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("   "),
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(force_jupyter=False),
        transient=True,
    )


def _upload_bar(live: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    return Progress(
        TextColumn("  uploading"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=Console(force_jupyter=False),
        transient=True,
        auto_refresh=live,
    )


@contextmanager
def _terminal_bar(make: MakeBar, total: int) -> Iterator[Advance]:
    with make(True) as bar:
        task = bar.add_task("", total=total)
        yield lambda sent: bar.advance(task, sent)


@contextmanager
def _notebook_bar(make: MakeBar, total: int) -> Iterator[Advance]:
    """Show the bar as a cell's display, which is replaced at each hundredth sent.

    Rich's own live display needs ipywidgets in a notebook; a display that is replaced does not.
    """
    from IPython.display import display

    bar = make(False)
    task = bar.add_task("", total=total)
    handle = display(bar, display_id=True)
    shown = 0

    def advance(sent: int) -> None:
        nonlocal shown
        bar.advance(task, sent)
        done = int(bar.tasks[0].completed)
        if done - shown >= total / 100 or done >= total:
            shown = done
            handle.update(bar)

    yield advance
