"""What the commands print: plain lines, and errors as a sentence with what to do."""

from __future__ import annotations

import sys

from penstock.core.errors import PenstockError


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def fail(error: PenstockError) -> int:
    """Print an error and return the exit status for it."""
    warn(f"penstock: {error.message}")
    if error.hint:
        warn(f"  {error.hint}")
    return 1
