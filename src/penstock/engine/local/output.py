"""A child process's standard output and error, and its end. Used by workers and templates."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import msgspec

from penstock.codec.sandbox import hint_for
from penstock.core.errors import LoadFailed, PenstockError
from penstock.core.memory_limit import memory_hint


def redirect(log: int) -> None:
    """Send what this process prints, C libraries included, to the pipe `log`, and close `log`."""
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = open(  # noqa: SIM115 - open for the life of the process
            fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
    faulthandler.enable(2, all_threads=False)


def end(code: int) -> NoReturn:
    """End at once: no exit handlers and no waiting for threads of user code."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def told(error: PenstockError, most_bytes: int) -> bytes:
    """Return an error as JSON; one too long loses its traceback, then the rest."""
    fields = error.to_dict(with_traceback=True)
    said = msgspec.json.encode(fields)
    if len(said) <= most_bytes:
        return said
    kept = {name: fields.get(name) for name in ("code", "stage", "function", "type", "hint")}
    return msgspec.json.encode({**kept, "message": str(fields.get("message"))[:4000]})


def as_load_error(error: BaseException) -> PenstockError:
    """Return `error`, which came out of loading a version, as one of ours."""
    if isinstance(error, PenstockError):
        return error
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return LoadFailed(
        f"The version could not be loaded: {said}.",
        type=type(error).__name__,
        hint=hint_for(error) or memory_hint(error),
        traceback=text,
    )
