"""What the commands print: plain lines, and errors as a sentence with what to do."""

from __future__ import annotations

import json
import sys

from penstock.core.errors import (
    EngineError,
    NoKey,
    PenstockError,
    ServerUnreachable,
    Unauthorized,
    UnexpectedAnswer,
)

#: Exit statuses: the request or the flow is refused; there is no server, or no key for it; the
#: version or the run cannot work. 2 is a command that is wrong in itself.
REFUSED, NO_SERVER, CANNOT_SERVE = 1, 3, 4


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def fail(error: PenstockError, as_json: bool = False) -> int:
    """Print an error with what to do about it; return the exit status for it.

    Args:
        error: What went wrong.
        as_json: Print `{"error": …}` on standard output, in place of the sentences.
    """
    if as_json:
        say(json.dumps({"error": error.to_dict(with_traceback=True)}, indent=2, default=str))
        return exit_status(error)
    warn(f"penstock: {error.message}")
    if error.hint:
        warn(f"  {error.hint}")
    return exit_status(error)


def exit_status(error: PenstockError) -> int:
    """Return the exit status of a command that ends with `error`."""
    if isinstance(error, (NoKey, ServerUnreachable, Unauthorized, UnexpectedAnswer)):
        return NO_SERVER
    return CANNOT_SERVE if isinstance(error, EngineError) else REFUSED
