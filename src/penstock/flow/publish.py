"""Publishes what runs saved, once they succeeded.

Called by `penstock.flow.service` for all runs that were answered together, and by
`penstock.flow.local` for one.
"""

from __future__ import annotations

from penstock.codec.memory import Write
from penstock.core.errors import InternalError, PenstockError
from penstock.flow.context import Run
from penstock.flow.space import MemorySpace


def publish_all(space: MemorySpace, runs: list[Run]) -> None:
    """Publish the writes of the runs without an error, in one request.

    If the store refuses, each run is published by itself, so that only the one at fault gets the
    error in `run.error`.
    """
    pending: list[tuple[Run, list[Write]]] = []
    for run in runs:
        if run.memory is not None and run.error is None:
            writes = run.memory.writes()
            if writes:
                pending.append((run, writes))
    if not pending:
        return
    try:
        space.publish([write for _, writes in pending for write in writes])
    except PenstockError as error:
        if len(pending) == 1:
            pending[0][0].error = error
            return
        for run, writes in pending:
            _publish_one(space, run, writes)
    except Exception as error:  # noqa: BLE001 - the memory socket may break
        for run, _ in pending:
            run.error = unwritten(error)


def _publish_one(space: MemorySpace, run: Run, writes: list[Write]) -> None:
    try:
        space.publish(writes)
    except PenstockError as error:
        run.error = error
    except Exception as error:  # noqa: BLE001 - the memory socket may break
        run.error = unwritten(error)


def unwritten(error: BaseException) -> InternalError:
    """Return the error of a run whose writes could not be published because of `error`."""
    return InternalError(f"The memory could not be written: {type(error).__name__}: {error}.")
