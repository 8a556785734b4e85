"""A logger's thread: nothing is lost while it fails for a while, nothing waits for it."""

from __future__ import annotations

import threading
from typing import Any

from penstock.wiring.logger_lane import MOST_ROWS, Lane


class Kept:
    """A logger that keeps rows, and fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.rows: list[Any] = []
        self.closed = False
        self._failures = failures

    def write(self, rows: Any) -> None:
        if self._failures:
            self._failures -= 1
            raise ConnectionError("not now")
        self.rows.extend(rows)

    def close(self) -> None:
        self.closed = True


def test_what_was_put_is_written_before_the_end() -> None:
    logger = Kept()
    lane = Lane("kept", logger)
    for number in range(10):
        lane.put([number])  # type: ignore[list-item]
    lane.end()
    lane.join()
    assert logger.rows == list(range(10))
    assert logger.closed


def test_rows_are_given_again_until_the_logger_takes_them() -> None:
    logger = Kept(failures=2)
    lane = Lane("kept", logger, pauses_s=(0.001, 0.001, 0.001))
    lane.put([1, 2])  # type: ignore[list-item]
    until = threading.Event()
    for _ in range(2000):
        if logger.rows:
            break
        until.wait(0.005)
    assert logger.rows == [1, 2]
    lane.end()
    lane.join()
    assert lane.dropped == 0


def test_rows_that_are_never_taken_are_dropped_and_counted() -> None:
    lane = Lane("kept", Kept(failures=99), pauses_s=(0.0,))
    lane.put([1, 2, 3])  # type: ignore[list-item]
    lane.end()
    lane.join()
    assert lane.dropped == 3


def test_more_rows_than_may_wait_are_dropped_at_once() -> None:
    held, entered = threading.Event(), threading.Event()

    class Stuck(Kept):
        def write(self, rows: Any) -> None:
            entered.set()
            assert held.wait(20)
            super().write(rows)

    lane = Lane("stuck", Stuck())
    lane.put([0] * 20_000)  # type: ignore[list-item]
    assert entered.wait(20)
    lane.put([0] * MOST_ROWS)  # type: ignore[list-item]
    lane.put([0])  # type: ignore[list-item]
    assert lane.dropped == 1
    held.set()
    lane.end()
    lane.join()
