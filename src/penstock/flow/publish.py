"""Publishes what runs saved, once they succeeded.

Called by `penstock.flow.service` for all runs that were answered together, and by
`penstock.flow.local` for one.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.codec.memory import REQUEST_LIMIT, Write, bytes_of
from penstock.core.errors import InternalError, PenstockError
from penstock.flow.context import Run
from penstock.flow.space import MemorySpace

#: A run and what it saved.
_Saved = tuple[Run, list[Write]]


def publish_all(space: MemorySpace, runs: list[Run]) -> None:
    """Publish the writes of the runs without an error, in as few requests as they fit in.

    If a request fails, each of its runs is published by itself, so that only the one at fault gets
    the error in `run.error`.
    """
    pending: list[_Saved] = []
    for run in runs:
        if run.memory is not None and run.error is None:
            writes = run.memory.writes()
            if writes:
                pending.append((run, writes))
    if not pending:
        return
    for part in _parts(pending):
        _publish(space, part)


def _parts(pending: list[_Saved]) -> Iterator[list[_Saved]]:
    """Divide runs among requests, in their order; what one run saved stays together."""
    part: list[_Saved] = []
    size = 0
    for run, writes in pending:
        more = bytes_of(writes)
        if part and size + more > REQUEST_LIMIT:
            yield part
            part, size = [], 0
        part.append((run, writes))
        size += more
    if part:
        yield part


def _publish(space: MemorySpace, part: list[_Saved]) -> None:
    try:
        space.publish([write for _, writes in part for write in writes])
    except Exception as error:  # noqa: BLE001 - the memory socket may break
        if len(part) == 1:
            part[0][0].error = error if isinstance(error, PenstockError) else unwritten(error)
            return
        for saved in part:
            _publish(space, [saved])


def unwritten(error: BaseException) -> InternalError:
    """Return the error of a run whose writes could not be published because of `error`."""
    return InternalError(f"The memory could not be written: {type(error).__name__}: {error}.")
