"""Calls a processing function that is `async def`.

A worker that overlaps its runs awaits it on its event loop (`wait`). Everywhere else, which is
local runs, it is called like any function: its coroutine runs on a loop of this process that is
kept, so that what a function keeps open between runs (an HTTP client) belongs to one loop, there as
in a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from penstock.core.errors import PenstockError
from penstock.core.signatures import waits
from penstock.flow.context import CURRENT, Run
from penstock.flow.desk import Desk
from penstock.flow.event_loop import local_loop
from penstock.flow.processing import Processing


class AsyncProcessing(Processing):
    """One `async def` processing function of a stage; see `Processing` for the arguments."""

    __slots__ = ()

    async def wait(self, run: Run) -> None:
        """Put what the function returns in `run.value`, or why there is nothing in `run.error`.

        Raises:
            asyncio.CancelledError: The task was cancelled, or the function says so.
        """
        began = perf_counter_ns()
        CURRENT.set(run)
        run.at = self.place
        try:
            value = await self._function(*self._prepare(run))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - user code must not end the worker
            run.error = self._failed(error)
        else:
            if value is None:
                run.error = self._returned_none()
            else:
                run.value = value
        run.spent_ns.append(perf_counter_ns() - began)

    def failed(self, error: BaseException) -> PenstockError:
        """Return the error of a run whose function raised `error`."""
        return self._failed(error)

    def is_harmless(self) -> bool:
        """Whether it is proven that it only computes: never, it waits for something."""
        return False

    def _unwatched(self, run: Run, desk: Desk) -> Any:
        return local_loop().run(super()._unwatched(run, desk))


def processing(
    function: Callable[..., Any], role: str, stage: int, arguments: int, copies: bool
) -> Processing:
    """Return what calls `function`; see `Processing` for the arguments."""
    kind = AsyncProcessing if waits(function) else Processing
    return kind(function, role, stage, arguments, copies)
