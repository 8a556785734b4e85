"""One call's time as a waterfall: a row for each part, with offsets from when the call arrived.

Made from the timeline of a run. Used by the pages of a run and of the playground.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock.control.insight.run_details import TimelinePart
from penstock.control.status import StageView
from penstock.dashboard.drawn import ticks

#: A note that would begin beyond this share of the width stands left of its bar.
_NOTE_LEFT = 62.0

#: Share of the width that the time takes.
_WIDTH = 92.0

#: How much longer the drawing is than a call that stopped, so that what it missed has room.
_BEYOND = 1.9

#: What parts outside of the stages are called, if not by their name.
_WORDS = {"decode": "receive", "encode": "write"}


class Row(NamedTuple):
    """A row. Positions and widths are percent of the drawing.

    Attributes:
        style: `part`, `stage`, `in` (a part of a stage) or `after` (the first one after stages).
        kind: `queue`, `pre`, `model`, `post` or `transfer`; empty for a stage.
        label: What it is.
        what: Function or model, in plain words.
        ms: How long it took; None when it was not reached.
        note: Said beside the bar.
        note_left: Whether the note stands left of the bar.
        failed: Whether the call stopped here.
    """

    style: str
    kind: str
    label: str
    what: str
    x: float
    width: float
    ms: float | None
    note: str = ""
    note_left: bool = False
    failed: bool = False

    @property
    def end(self) -> float:
        """Where the bar ends."""
        return round(self.x + self.width, 3)


class Tick(NamedTuple):
    """A line of the grid."""

    x: float
    label: str


class Fall(NamedTuple):
    """A waterfall: rows, lines of the grid, and the milliseconds in all."""

    rows: list[Row]
    ticks: list[Tick]
    total_ms: float
    sentence: str


def fall_of(
    timeline: Sequence[TimelinePart],
    stages: Sequence[StageView],
    error: Mapping[str, Any] | None = None,
    sent: str = "",
    answered: str = "",
) -> Fall:
    """Return the waterfall of one call.

    Args:
        timeline: The parts of its time, those that were not reached last.
        stages: The stages of the version.
        error: The error object of a call that failed.
        sent: What was sent, for the row of reading it.
        answered: What was answered, for the last row.
    """
    whole = max(map(_end, timeline), default=0.0) or 0.001
    stopped = any(not _measured(part) for part in timeline)
    scale = _Scale(whole * _BEYOND if stopped else whole)
    outside = [part for part in timeline if not part.stage]
    rows: list[Row] = []
    for part in (p for p in outside if p.kind in {"queue", "decode"}):
        what = sent if part.kind == "decode" else ""
        note = _queue_note(timeline) if part.kind == "queue" else ""
        rows.append(scale.row(part, "part", what, note))
    scale.reached = max((_end(part) for part in timeline if part.stage), default=0.0)
    for number, stage in enumerate(stages, 1):
        parts = [part for part in timeline if part.stage == number]
        if parts:
            rows += _stage(scale, number, stage, parts, error or {})
    style = "after"
    for part in (p for p in outside if p.kind not in {"queue", "decode"} and _measured(p)):
        rows.append(scale.row(part, style, answered if part.kind == "encode" else "", ""))
        style = "part"
    return Fall(rows, scale.grid(), whole, _sentence(rows, whole))


def _end(part: TimelinePart) -> float:
    return (part.start_ms or 0.0) + (part.ms or 0.0)


def _measured(part: TimelinePart) -> bool:
    return part.ms is not None and part.start_ms is not None


class _Scale:
    """Milliseconds to percent of the drawing."""

    def __init__(self, whole: float) -> None:
        self._factor = _WIDTH / whole
        self._marks = ticks(whole)
        #: Where a call that failed came to, in milliseconds.
        self.reached = 0.0

    def x(self, ms: float) -> float:
        return round(ms * self._factor, 3)

    def grid(self) -> list[Tick]:
        last = len(self._marks) - 1
        return [
            Tick(self.x(mark), f"{mark:g}" + (" ms" if index == last else ""))
            for index, mark in enumerate(self._marks)
        ]

    def row(self, part: TimelinePart, style: str, what: str, note: str) -> Row:
        kind = part.kind if part.kind in {"queue", "pre", "model", "post"} else "transfer"
        label = _WORDS.get(part.kind, part.kind) if not part.stage else part.kind
        start = self.reached if part.start_ms is None else part.start_ms
        ms = part.ms or 0.0
        left = self.x(start + ms) > _NOTE_LEFT
        measured = part.ms if _measured(part) else None
        return Row(style, kind, label, what, self.x(start), self.x(ms), measured, note, left)


def _queue_note(timeline: Sequence[TimelinePart]) -> str:
    shared = next((part for part in timeline if part.calls > 1), None)
    if shared is None:
        return ""
    return f"taken with {shared.calls - 1} other calls, {shared.rows} rows"


def _stage(
    scale: _Scale,
    number: int,
    stage: StageView,
    parts: Sequence[TimelinePart],
    error: Mapping[str, Any],
) -> list[Row]:
    names = {
        "pre": stage.pre.name if stage.pre else "",
        "model": stage.model,
        "post": stage.post.name if stage.post else "",
    }
    rows = []
    for part in parts:
        note = f"{part.rows} rows together" if part.calls > 1 else ""
        what = names.get(part.kind, part.branch)
        row = scale.row(part, "in", what, note)
        if part.state == "failed":
            cause = error.get("type") or error.get("code") or "failed"
            row = row._replace(failed=True, note=f"{cause} after {part.ms or 0.0:.2f} ms")
        rows.append(row)
    measured = [part for part in parts if _measured(part)]
    began = min((p.start_ms or 0.0 for p in measured), default=0.0)
    ended = max(map(_end, measured), default=0.0)
    title = f"{stage.model_type.upper()} {stage.model}"
    took = ended - began if measured else None
    head = Row("stage", "", f"Stage {number}", title, scale.x(began), scale.x(took or 0.0), took)
    return [head, *rows]


def _sentence(rows: Sequence[Row], whole: float) -> str:
    told = [f"{row.label} {row.ms:.2f} ms" for row in rows if row.ms is not None]
    return f"{whole:.2f} ms in all: {', '.join(told)}."
