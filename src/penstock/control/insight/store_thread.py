"""The one thread that uses the insight store; the event loop awaits it.

It is not the thread of the records: a run's 202 must not wait for log lines to be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from penstock.core.errors import StoreError
from penstock.stores.insight_base import InsightStore

P = ParamSpec("P")
R = TypeVar("R")


class InsightThread:
    """The store and its thread. Made by `open`, ended by `close`.

    Attributes:
        store: Only for use inside `call`.
    """

    def __init__(self, thread: ThreadPoolExecutor, store: InsightStore) -> None:
        self.store = store
        self._thread = thread
        self._closed = False

    @classmethod
    async def open(cls, open_store: Callable[[], InsightStore]) -> InsightThread:
        """Start the thread and open the store in it.

        Raises:
            StoreError: The store cannot be opened.
        """
        thread = ThreadPoolExecutor(1, "penstock-insight")
        try:
            store = await asyncio.get_running_loop().run_in_executor(thread, open_store)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(thread, store)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` in the thread and return what it returns.

        Raises:
            StoreError: The store is closed.
        """
        if self._closed:
            raise StoreError("The server is stopping and its figures are closed.")
        work = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Finish the calls already made, close the store and end the thread."""
        if not self._closed:
            self._closed = True
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self.store.close)
            self._thread.shutdown(wait=False)
