"""Publishes the memory of runs that are done, and only then answers them.

A thread of its own, so that neither the event loop nor a function's thread waits for the memory
store; what has gathered while one transaction was written goes into the next.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue

from penstock.flow.context import Run
from penstock.flow.publish import publish_all, unwritten
from penstock.flow.space import MemorySpace

#: Most runs of one transaction.
_AT_ONCE = 256


class Finisher:
    """The thread; it is started with the first run that saved something.

    Args:
        space: Where the runs' writes go.
    """

    def __init__(self, space: MemorySpace) -> None:
        self._space = space
        self._done: SimpleQueue[tuple[Run, Callable[[], None]]] = SimpleQueue()
        self._starting = threading.Lock()
        self._started = False

    def put(self, run: Run, answer: Callable[[], None]) -> None:
        """Publish what a run saved, put an error in `run.error` if that fails, call `answer`."""
        self._done.put((run, answer))
        with self._starting:
            if not self._started:
                self._started = True
                threading.Thread(target=self._work, name="penstock-memory", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._finish(self._done.get())

    def _finish(self, first: tuple[Run, Callable[[], None]]) -> None:
        waiting = [first]
        while len(waiting) < _AT_ONCE and not self._done.empty():
            waiting.append(self._done.get())
        self._publish([run for run, _ in waiting])
        for _, answer in waiting:
            _call(answer)

    def _publish(self, runs: list[Run]) -> None:
        """Publish; what goes wrong unforeseen is an error of the run at fault alone."""
        try:
            publish_all(self._space, runs)
        except BaseException as error:  # noqa: BLE001 - values are pickled by code of the user's
            if len(runs) > 1:
                for run in runs:
                    self._publish([run])
                return
            traceback.print_exc()
            runs[0].error = runs[0].error or unwritten(error)


def _call(answer: Callable[[], None]) -> None:
    try:
        answer()
    except Exception:  # noqa: BLE001 - the other runs' answers must go out
        traceback.print_exc()
