"""The parts of a call's time, read from the worker's `Server-Timing` text.

`queue`, `decode`, `s1-pre`, `s1-model`, `s2-model`, `s2-post`, `encode`, each with `dur` in
milliseconds. A model's part may say `desc="5/9"`: five calls with nine rows were answered by one
call of the model. Parts of other names are kept under their name.
"""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """One part of a call's time.

    Attributes:
        name: As the worker calls it.
        ms: Milliseconds.
        calls: Calls that shared it: 1 unless the model was called for several together.
        rows: Rows of the model's call; 0 when not said.
    """

    name: str
    ms: float
    calls: int = 1
    rows: int = 0


class Place(NamedTuple):
    """Where in a flow a part belongs: stage from 1 (0: outside of the stages) and what it is."""

    stage: int
    kind: str
    branch: str = ""


def read_parts(timing: str) -> list[Part]:
    """Return the parts of a `Server-Timing` text in their order; what is no part is left out."""
    found = []
    for entry in timing.split(", "):
        name, _, facts = entry.partition(";dur=")
        if not facts:
            continue
        number, _, told = facts.partition(';desc="')
        try:
            ms = float(number)
        except ValueError:
            continue
        calls, rows = _shared(told) if told else (1, 0)
        found.append(Part(name, ms, calls, rows))
    return found


def _shared(told: str) -> tuple[int, int]:
    calls, _, rows = told.rstrip('"').partition("/")
    if calls.isdigit() and rows.isdigit():
        return max(1, int(calls)), int(rows)
    return 1, 0


def place_of(name: str) -> Place:
    """Return where the part of this name belongs.

    `s2-pre` is the `pre` of stage 2; `s2.b1-model` the model of branch `b1` of it.
    """
    stage, dash, kind = name.partition("-")
    if dash and stage[:1] == "s":
        number, _, branch = stage[1:].partition(".")
        if number.isdigit():
            return Place(int(number), kind, branch)
    return Place(0, name)
