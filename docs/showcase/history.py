"""Gives the showcase a past: an hour and a week of figures, and versions that are days old.

The figures are made of calls that the showcase really answered, drawn by chance and spread over the
time before: nobody waits a week for a picture. Works on the data folder of a stopped server.
"""

from __future__ import annotations

import math
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from penstock.control.insight.histogram import buckets_of
from penstock.control.insight.points import Point, pack_point
from penstock.control.insight.timings import read_parts

PROJECT = "default"
MINUTE_S, TEN_S, HOUR_S, DAY_S = 60, 600, 3600.0, 86400.0

#: Seconds of each kind of point.
_SPANS = {MINUTE_S: DAY_S, TEN_S: 7 * DAY_S}

#: Calls drawn for one point; each stands for several.
_DRAWN = 60

_PUT = (
    "INSERT OR REPLACE INTO points (project, deployment, version, step_s, start, data)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)

#: When versions were deployed, in seconds before now; others a while ago.
AGES = {
    ("digits", 1): 20 * DAY_S, ("digits", 2): 10.2 * DAY_S, ("digits", 3): 10 * DAY_S,
    ("digits", 4): 36 * 60.0,
    ("churn-scorer", 1): 9 * DAY_S, ("churn-scorer", 2): 18 * 60.0,
    ("sensor-anomaly", 1): 3 * DAY_S, ("demand-forecast", 1): 5 * HOUR_S,
    ("iris-classes", 1): 6 * DAY_S, ("photo-tags", 1): DAY_S, ("support-router", 1): 4 * DAY_S,
    ("invoice-fields", 1): 6 * HOUR_S, ("speech-lang", 1): 41 * 60.0,
    ("lead-ranker", 1): 22 * DAY_S, ("returns-risk", 1): 16 * DAY_S,
}  # fmt: skip


class Kept(NamedTuple):
    """A call that was really answered."""

    ms: float
    timing: str
    code: str | None


def give(data: Path, rates: dict[str, float], *, until: float | None = None) -> None:
    """Give the stopped server of a data folder a past.

    Args:
        data: The folder.
        rates: Calls a second by deployment; others were not called.
        until: When the past ends; now by default.
    """
    now = until or time.time()
    _age(data / "records.sqlite", now)
    with sqlite3.connect(data / "insight.sqlite") as db:
        serving = _serving(db)
        for name, rate in rates.items():
            _fill(db, name, rate, serving.get(name, []), now)
    db.close()


def _age(path: Path, now: float) -> None:
    with sqlite3.connect(path) as db:
        for (name, number), age in AGES.items():
            at = now - age
            db.execute(
                "UPDATE versions SET created_at = ?, ready_at = ready_at + ? - created_at"
                " WHERE project = ? AND deployment = ? AND number = ?",
                (at, at, PROJECT, name, number),
            )
            db.execute(
                "UPDATE deployments SET updated_at = ?, created_at = min(created_at, ?)"
                " WHERE project = ? AND name = ? AND coalesce(active, ?) = ?",
                (at + 1, at, PROJECT, name, number, number),
            )
    db.close()


def _serving(db: sqlite3.Connection) -> dict[str, list[tuple[float, int]]]:
    """Move each switch to when its version was deployed; return them by deployment."""
    found: dict[str, list[tuple[float, int]]] = {}
    now = time.time()
    for name, number in db.execute("SELECT deployment, version FROM switches ORDER BY at"):
        at = now - AGES.get((name, number), DAY_S) + 2
        found.setdefault(name, []).append((at, number))
        db.execute(
            "UPDATE switches SET at = ? WHERE deployment = ? AND version = ?", (at, name, number)
        )
    return found


def _fill(
    db: sqlite3.Connection,
    name: str,
    rate: float,
    serving: Sequence[tuple[float, int]],
    now: float,
) -> None:
    rng = random.Random(name)
    calls = {number: _calls(db, name, number) for _at, number in serving}
    for step_s, span in _SPANS.items():
        for start in range(int(now - span) // step_s * step_s, int(now), step_s):
            number = next((n for at, n in reversed(serving) if at <= start), None)
            if number is not None and calls[number]:
                point = _point(calls[number], rate * step_s * _swell(name, start), start, rng)
                values = (PROJECT, name, number, step_s, start, pack_point(point))
                db.execute(_PUT, values)
    _add_totals(db, name, rate, serving, calls, now)


def _calls(db: sqlite3.Connection, name: str, number: int) -> list[Kept]:
    """Return calls of a version that were kept, without the slowest, which met its start."""
    rows = db.execute(
        "SELECT run_time_ms, server_timing, code FROM calls WHERE deployment = ? AND version = ?"
        " ORDER BY run_time_ms",
        (name, number),
    ).fetchall()
    return [Kept(*row) for row in rows[: max(1, int(len(rows) * 0.97))]]


def _swell(name: str, start: float) -> float:
    """Return how busy a deployment is at a time, beside its mean: days, minutes and chance."""
    phase = sum(map(ord, name)) % 7
    day = 0.25 * math.sin(start / DAY_S * 2 * math.pi + phase)
    short = 0.12 * math.sin(start / 700 + phase) + 0.06 * math.sin(start / 171 + 2 * phase)
    return max(0.05, 1 + day + short + random.Random(f"{name} {start}").gauss(0, 0.05))


def _point(calls: Sequence[Kept], count: float, start: float, rng: random.Random) -> Point:
    point = Point()
    many = max(1, round(count))
    drawn = [rng.choice(calls) for _ in range(min(many, _DRAWN))]
    each = many / len(drawn)
    slow = 1 + 0.1 * math.sin(start / 900) + rng.gauss(0, 0.03)
    for number, times in enumerate(_shares(many, len(drawn))):
        call = drawn[number]
        took = int(call.ms * slow * 1e6)
        point.add_times(times, took * times, buckets_of([took] * times))
        parts = [part._replace(ms=part.ms * slow) for part in read_parts(call.timing)]
        point.add_parts(parts, each)
        if call.code:
            point.errors = {**point.errors, call.code: point.errors.get(call.code, 0) + times}
    point.most_in_hand = rng.randint(1, 4)
    return point


def _shares(total: int, among: int) -> Iterator[int]:
    for number in range(among):
        yield (number + 1) * total // among - number * total // among


def _add_totals(
    db: sqlite3.Connection,
    name: str,
    rate: float,
    serving: Sequence[tuple[float, int]],
    calls: dict[int, list[Kept]],
    now: float,
) -> None:
    """Add what versions answered in all, which the table of versions shows."""
    ends = [at for at, _number in serving[1:]] + [now]
    for (at, number), end in zip(serving, ends, strict=True):
        kept = calls[number]
        if not kept:
            continue
        count = int(rate * (end - at))
        failed = int(count * sum(1 for call in kept if call.code) / len(kept))
        time_ms = count * sum(call.ms for call in kept) / len(kept)
        db.execute(
            "UPDATE totals SET calls = calls + ?, errors = errors + ?, time_ms = time_ms + ?"
            " WHERE deployment = ? AND version = ?",
            (count, failed, time_ms, name, number),
        )
