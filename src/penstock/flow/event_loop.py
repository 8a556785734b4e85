"""An event loop in a thread of its own, for functions that are `async def`.

A worker has one for all its runs (`penstock.flow.overlap`), a process that runs flows locally has
one for all its local runs (`penstock.flow.async_function`), also where another loop is running, as
in a notebook.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """An event loop and its thread.

    Args:
        name: Name of the thread.
        first: Called in the thread before anything else.

    Attributes:
        loop: The loop.
    """

    def __init__(self, name: str, first: Callable[[], None] = lambda: None) -> None:
        self.loop = asyncio.new_event_loop()
        self._first = first
        threading.Thread(target=self._go_on, name=name, daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine with the caller's context and return its result, or raise its error."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _go_on(self) -> None:
        self._first()
        asyncio.set_event_loop(self.loop)
        while True:
            self._until_it_breaks()

    def _until_it_breaks(self) -> None:
        try:
            self.loop.run_forever()
        except BaseException:  # noqa: BLE001 - SystemExit in a task of user code ends no loop
            traceback.print_exc()


@lru_cache(maxsize=1)
def local_loop() -> LoopThread:
    """Return the loop of local runs, started at the first call."""
    return LoopThread("penstock-local-runs")
