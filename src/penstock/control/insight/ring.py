"""The last hour of one version in five-second points, and what is to be stored of it.

`recorder` fills a ring at every tick; `series` reads it. Stretches in which nothing happened have
no point, so that an idle version costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from penstock.control.insight.points import Point

#: Seconds of a point in memory, and of the two kinds that are stored.
FINE_S, MINUTE_S, TEN_S = 5, 60, 600

_HOUR_S = 3600

Timed = tuple[int, Point]


class _Open:
    """The point that is being filled."""

    def __init__(self, step_s: int) -> None:
        self.step_s = step_s
        self.start = 0
        self.point = Point()
        self.changed = False

    def at(self, now: float) -> Timed | None:
        """Begin the point of `now`; return the one before it if that is over."""
        start = int(now) // self.step_s * self.step_s
        if start == self.start:
            return None
        done = (self.start, self.point) if not self.point.is_empty else None
        self.start, self.point, self.changed = start, Point(), False
        return done

    def add(self, point: Point) -> None:
        self.point.merge(point)
        self.changed = True


class Ring:
    """What one version did lately.

    Attributes:
        touched: When something was last added, in seconds since the epoch.
    """

    def __init__(self) -> None:
        self._fine = _Open(FINE_S)
        self._stored = (_Open(MINUTE_S), _Open(TEN_S))
        self._past: deque[Timed] = deque(maxlen=_HOUR_S // FINE_S)
        self._minutes: deque[Timed] = deque(maxlen=_HOUR_S // MINUTE_S)
        self.touched = 0.0

    def add(self, point: Point, now: float) -> list[tuple[int, int, Point]]:
        """Add what was done since the last tick (maybe nothing).

        Returns:
            Points to store, as seconds, start and point: those that are over. They are whole.
        """
        done = self._fine.at(now)
        if done is not None:
            self._past.append(done)
        to_store = []
        for opened in self._stored:
            over = opened.at(now)
            if over is not None:
                to_store.append((opened.step_s, *over))
                if opened.step_s == MINUTE_S:
                    self._minutes.append(over)
        if not point.is_empty:
            self.touched = now
            self._fine.add(point)
            for opened in self._stored:
                opened.add(point)
        return to_store

    def unstored(self) -> list[tuple[int, int, Point]]:
        """Return the stored kinds of points as far as they have come, where something is new."""
        found = []
        for opened in self._stored:
            if opened.changed and not opened.point.is_empty:
                opened.changed = False
                found.append((opened.step_s, opened.start, opened.point))
        return found

    def resume(self, step_s: int, start: int, point: Point) -> None:
        """Go on with a point that was stored before it was over: the server was started again."""
        for opened in self._stored:
            if opened.step_s == step_s:
                opened.start, opened.point = start, point

    def fine(self, since: float) -> Iterator[Timed]:
        """Yield the five-second points from `since` on."""
        yield from (timed for timed in self._past if timed[0] >= since)
        if not self._fine.point.is_empty and self._fine.start >= since:
            yield self._fine.start, self._fine.point

    def minutes(self, since: float) -> Iterator[Timed]:
        """Yield the one-minute points of the last hour from `since` on."""
        yield from (timed for timed in self._minutes if timed[0] >= since)
        yield from self.open_point(MINUTE_S, since)

    def open_point(self, step_s: int, since: float) -> Iterator[Timed]:
        """Yield the point of a stored kind that is being filled, if it is of `since` or later."""
        for opened in self._stored:
            if opened.step_s == step_s and not opened.point.is_empty and opened.start >= since:
                yield opened.start, opened.point
