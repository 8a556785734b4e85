"""One logger and the thread that feeds it, in the process that writes predictions.

Rows wait until there are many or some seconds have passed. What the logger refuses is given to it
again after growing pauses, then dropped; other loggers do not wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from penstock.stores.loggers import PredictionLogger, PredictionRow

log = logging.getLogger("penstock.predictions")

#: Rows of one `write` at most, and seconds that a row waits for others.
AT_ONCE = 20_000
WAIT_S = 2.0

#: Rows that may wait; further ones are dropped.
MOST_ROWS = 200_000

#: Pauses before rows are given again, in seconds.
PAUSES_S = (1.0, 5.0, 20.0, 60.0)


class Lane:
    """A logger with its thread.

    Args:
        name: What the logger is called in the log.
        logger: The logger.
        pauses_s: Seconds before each further try.
    """

    def __init__(
        self, name: str, logger: PredictionLogger, pauses_s: Sequence[float] = PAUSES_S
    ) -> None:
        self._name = name
        self._logger = logger
        self._pauses_s = pauses_s
        self._rows: list[PredictionRow] = []
        self._changed = threading.Condition()
        self._ended = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name=f"logger-{name}", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[PredictionRow]) -> None:
        """Have rows written soon; drop them if too many wait."""
        with self._changed:
            if len(self._rows) + len(rows) > MOST_ROWS:
                self._drop(len(rows), "too many wait")
                return
            self._rows.extend(rows)
            self._changed.notify()

    def end(self) -> None:
        """Write what waits and end; `join` waits for that."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def _work(self) -> None:
        while rows := self._next():
            self._write(rows)
        try:
            self._logger.close()
        except Exception:
            log.exception("The logger %r could not be closed.", self._name)

    def _next(self) -> list[PredictionRow]:
        """Return rows of one version to be written now; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._ended)
            self._changed.wait_for(lambda: len(self._rows) >= AT_ONCE or self._ended, WAIT_S)
            rows = self._rows[:AT_ONCE]
            self._rows = self._rows[AT_ONCE:]
        return rows

    def _write(self, rows: Sequence[PredictionRow]) -> None:
        why = ""
        for pause_s in (*self._pauses_s, None):
            try:
                self._logger.write(rows)
            except Exception as error:  # noqa: BLE001 - whatever a platform's library raises
                why = f"{type(error).__name__}: {error}"
            else:
                return
            if pause_s is None or self._wait(pause_s):
                break
        with self._changed:
            self._drop(len(rows), why)

    def _wait(self, pause_s: float) -> bool:
        """Wait before the next try; return whether it was told to end meanwhile."""
        until = time.monotonic() + pause_s
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, until - time.monotonic())

    def _drop(self, rows: int, why: str) -> None:
        self.dropped += rows
        log.warning("The logger %r lost %d predictions: %s", self._name, rows, why[:500])
