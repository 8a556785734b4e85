"""The parts of a call's time, read from the worker's `Server-Timing` text.

`queue`, `decode`, `s1-pre`, `s1-model`, `s2-model`, `s2-post`, `encode`, each with `dur` in
milliseconds. A model's part may say `desc="5/9"`: five calls with nine rows were answered by one
call of the model. Parts of other names are kept under their name. A worker may say anything, so
there are bounds for all of it.
"""

from __future__ import annotations

from typing import NamedTuple

#: Parts of one call, and characters of a name; what is more or longer is left out.
_MOST_PARTS, _LONGEST_NAME = 256, 100

#: Milliseconds of one part: thirty years.
_MOST_MS = 1e12

#: Digits of a number of calls, rows or a stage.
_DIGITS = 9


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
    for entry in timing.split(", ", _MOST_PARTS)[:_MOST_PARTS]:
        name, _, facts = entry.partition(";dur=")
        if not facts or len(name) > _LONGEST_NAME:
            continue
        number, _, told = facts.partition(';desc="')
        try:
            ms = float(number)
        except ValueError:
            continue
        if not 0 <= ms <= _MOST_MS:  # also what is no number
            continue
        calls, rows = _shared(told) if told else (1, 0)
        found.append(Part(name, ms, calls, rows))
    return found


def _shared(told: str) -> tuple[int, int]:
    calls, _, rows = told.rstrip('"').partition("/")
    if _is_number(calls) and _is_number(rows):
        return max(1, int(calls)), int(rows)
    return 1, 0


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def place_of(name: str) -> Place:
    """Return where the part of this name belongs.

    `s2-pre` is the `pre` of stage 2; `s2-dark-s1-model` the model of stage 1 of its branch `dark`.
    """
    stage, dash, rest = name.partition("-")
    if dash and stage[:1] == "s" and _is_number(stage[1:]) and stage[1] != "0":
        branch, _, kind = rest.rpartition("-")
        return Place(int(stage[1:]), kind, branch)
    return Place(0, name)
