"""Figures as shapes: bars by kind of time, sparklines, small columns. Numbers only, no colours.

The templates put the results into SVG attributes, so nothing needs a style attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

KINDS = ("queue", "pre", "model", "post")

#: Size of a sparkline's drawing.
SPARK_WIDTH, SPARK_HEIGHT = 184, 26


class Bar(NamedTuple):
    """A piece of a bar: position and width in percent, and the gap before it in pixels."""

    kind: str
    x: float
    width: float
    gap: float = 0.0


def bars(spans: Sequence[tuple[str, int, float]]) -> list[Bar]:
    """Return pieces of one bar, to scale.

    Args:
        spans: Kind, stage and amount, in order. A wider gap parts the stages.
    """
    total = sum(amount for _kind, _stage, amount in spans)
    found: list[Bar] = []
    at, before = 0.0, 0
    for kind, stage, amount in spans:
        if amount <= 0 or total <= 0:
            continue
        width = 100 * amount / total
        gap = 0.0 if not found else (2.6 if stage != before and before else 1.0)
        found.append(Bar(kind, round(at, 3), round(width, 3), gap))
        at, before = at + width, stage
    return found


def share_bars(shares: Mapping[str, float]) -> list[Bar]:
    """Return the pieces of a bar of the four kinds of time."""
    return bars([(kind, 0, shares.get(kind, 0.0)) for kind in KINDS])


class Mark(NamedTuple):
    """An error in a sparkline."""

    x: float
    y: float
    height: float


class Spark(NamedTuple):
    """A sparkline: path of the line, path of the area below it, errors as columns."""

    line: str
    area: str
    errors: list[Mark]


def spark(values: Sequence[float], errors: Sequence[float] = ()) -> Spark | None:
    """Return a line from zero on its own scale, or None when there is nothing to see."""
    most = max(values, default=0.0)
    if most <= 0 or len(values) < 2:
        return None
    step = SPARK_WIDTH / (len(values) - 1)
    tall = SPARK_HEIGHT - 5
    points = [
        f"{index * step:.1f} {SPARK_HEIGHT - 1 - value / most * tall:.1f}"
        for index, value in enumerate(values)
    ]
    line = "M" + "L".join(points)
    base = SPARK_HEIGHT - 1
    marks = [
        Mark(round(index * step - 1.2, 1), round(base - high, 1), round(high, 1))
        for index, value in enumerate(errors)
        if value > 0
        for high in [max(3.0, min(tall * 0.55, value / most * tall * 2))]
    ]
    return Spark(line, f"{line}L{SPARK_WIDTH} {base}L0 {base}Z", marks)


class Column(NamedTuple):
    """A column of a small chart. Positions and sizes in percent of the width, pixels of height."""

    x: float
    middle: float
    width: float
    y: float
    height: float
    label: str
    value: str


def columns(groups: Sequence[tuple[str, float]], tall: float = 38.0) -> list[Column]:
    """Return columns for labels and shares (0 to 1)."""
    most = max((share for _label, share in groups), default=0.0)
    wide = 100 / max(1, len(groups))
    found = []
    for index, (label, share) in enumerate(groups):
        high = max(1.0, tall * share / most) if most else 0.0
        x = index * wide
        found.append(
            Column(
                round(x, 2),
                round(x + wide * 0.44, 2),
                round(wide * 0.88, 2),
                round(14 + tall - high, 1),
                round(high, 1),
                label,
                f"{share * 100:.0f}",
            )
        )
    return found


def row_groups(groups: Sequence[tuple[int, float]]) -> list[tuple[str, float]]:
    """Return groups of rows, given by the most rows of each, with their ranges as labels."""
    found = []
    before = 0
    for most, share in groups:
        label = str(most) if most == before + 1 else f"{before + 1}–{most}"
        found.append((label, share))
        before = most
    return found


def ticks(most: float, wanted: int = 5) -> list[float]:
    """Return round values from 0 to about `most`, some five of them."""
    if most <= 0:
        return [0.0]
    raw = most / wanted
    power = 10.0 ** _floor_log10(raw)
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    return [round(index * step, 10) for index in range(int(most / step + 1e-9) + 1)]


def _floor_log10(value: float) -> int:
    power = 0
    while value < 1:
        value, power = value * 10, power - 1
    while value >= 10:
        value, power = value / 10, power + 1
    return power


class Gapped(NamedTuple):
    """A line with gaps: its path, points without neighbours, what the top of its scale is."""

    line: str
    dots: list[tuple[float, float]]
    top: float


def gapped(values: Sequence[float | None], at_least: float) -> Gapped | None:
    """Return a line from zero over values of equal distance; None is a gap.

    Args:
        values: The values, oldest first.
        at_least: The top of the scale is this, or the largest value.
    """
    if all(value is None for value in values):
        return None
    top = max([at_least, *(value for value in values if value is not None)])
    step = SPARK_WIDTH / max(1, len(values) - 1)
    pieces, dots, path = [], [], []
    for index, value in enumerate([*values, None]):
        if value is not None:
            path.append((round(index * step, 1), round(SPARK_HEIGHT - 1 - value / top * 21, 1)))
        elif len(path) == 1:
            dots.append(path[0])
        elif path:
            pieces.append("M" + "L".join(f"{x} {y}" for x, y in path))
        if value is None:
            path = []
    return Gapped("".join(pieces), dots, top)


class Pair(NamedTuple):
    """Two columns side by side, of the reference and of now: positions in a box of 184 by 26."""

    label: str
    x: float
    width: float
    then_y: float
    then_height: float
    now_y: float
    now_height: float


def pairs(groups: Sequence[tuple[str, float, float]]) -> list[Pair]:
    """Return a pair of columns for each group: label, share in the reference, share now."""
    most = max((max(then, now) for _label, then, now in groups), default=0.0)
    if not most:
        return []
    wide = SPARK_WIDTH / len(groups)
    found = []
    for index, (label, then, now) in enumerate(groups):
        heights = [round(SPARK_HEIGHT * share / most, 1) for share in (then, now)]
        found.append(
            Pair(
                label,
                round(index * wide, 1),
                round(wide * 0.4, 1),
                round(SPARK_HEIGHT - heights[0], 1),
                heights[0],
                round(SPARK_HEIGHT - heights[1], 1),
                heights[1],
            )
        )
    return found
