"""What one version did in a stretch of time, added up; kept as msgpack.

`recorder` fills one every five seconds and adds them up to minutes and ten minutes; `series` reads
them. Counts may come from an even sample of the calls, weighted, so they need not be whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.control.insight.histogram import Buckets
from penstock.control.insight.timings import Part

#: Rows of a model call beyond these fall into the last group.
ROW_GROUPS: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256, 512, 1024)


class PartSum(msgspec.Struct, array_like=True):
    """One part of the calls' time: how many calls had it, and the milliseconds altogether."""

    calls: float = 0.0
    ms: float = 0.0


#: Names of parts that one version may have: what a worker makes up must not fill our memory.
MOST_PARTS = 1000


class Point(msgspec.Struct, array_like=True):
    """What one version did.

    Attributes:
        calls: Calls that were answered.
        errors: Those of them that were answered with an error, by code.
        cancelled: Calls whose caller went away.
        time_ms: Milliseconds from arrival to answer, altogether.
        buckets: Answered calls by `histogram` bucket of their time.
        parts: The parts of their time, by name.
        model_calls: For each model's part: calls of the model by group of rows.
        rows: For each model's part: rows altogether, and calls of the model altogether.
        most_in_hand: Most calls that were in hand at a tick.
    """

    calls: int = 0
    errors: dict[str, int] = {}
    cancelled: int = 0
    time_ms: float = 0.0
    buckets: dict[int, int] = {}
    parts: dict[str, PartSum] = {}
    model_calls: dict[str, dict[int, float]] = {}
    rows: dict[str, PartSum] = {}
    most_in_hand: int = 0

    @property
    def failed(self) -> int:
        """Calls that were answered with an error."""
        return sum(self.errors.values())

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return not (self.calls or self.cancelled)

    def add_times(self, count: int, total_ns: int, buckets: Buckets) -> None:
        """Add answered calls."""
        self.calls += count
        self.time_ms += total_ns / 1e6
        _add(self.buckets, buckets)

    def add_parts(self, parts: list[Part], weight: float) -> None:
        """Add the parts of one call that stands for `weight` calls."""
        for name, ms, calls, rows in parts:
            total = self.parts.get(name)
            if total is None:
                if len(self.parts) >= MOST_PARTS:
                    continue
                total = self.parts[name] = PartSum()
            total.calls += weight
            total.ms += ms * weight
            if rows:
                self._add_rows(name, rows, weight / calls)

    def _add_rows(self, name: str, rows: int, model_calls: float) -> None:
        group = next((g for g in ROW_GROUPS if rows <= g), ROW_GROUPS[-1])
        groups = self.model_calls.setdefault(name, {})
        groups[group] = groups.get(group, 0.0) + model_calls
        total = self.rows.get(name)
        if total is None:
            total = self.rows[name] = PartSum()
        total.calls += model_calls
        total.ms += rows * model_calls

    def merge(self, other: Point) -> None:
        """Add all that another point has."""
        self.calls += other.calls
        self.cancelled += other.cancelled
        self.time_ms += other.time_ms
        self.most_in_hand = max(self.most_in_hand, other.most_in_hand)
        _add(self.errors, other.errors)
        _add(self.buckets, other.buckets)
        _add_sums(self.parts, other.parts)
        _add_sums(self.rows, other.rows)
        for name, groups in other.model_calls.items():
            if name not in self.rows:
                continue
            mine = self.model_calls.setdefault(name, {})
            for group, count in groups.items():
                mine[group] = mine.get(group, 0.0) + count


def _add(into: dict[Any, int], other: Mapping[Any, int]) -> None:
    for name, count in other.items():
        into[name] = into.get(name, 0) + count


def _add_sums(into: dict[str, PartSum], other: Mapping[str, PartSum]) -> None:
    for name, theirs in other.items():
        mine = into.get(name)
        if mine is None:
            if len(into) >= MOST_PARTS:
                continue
            mine = into[name] = PartSum()
        mine.calls += theirs.calls
        mine.ms += theirs.ms


pack_point = msgspec.msgpack.Encoder().encode
unpack_point = msgspec.msgpack.Decoder(Point).decode
