"""A line that a worker prints, with the run that printed it, on its way through the log pipe.

    0x1E run id SP time SP stage SP function SP level 0x1E text

Lines without this head are what no run said: loading, other threads, C libraries. The worker writes
them (`penstock.flow.run_output`), the server's engine reads them (`engine.local.logs`).
"""

from __future__ import annotations

from typing import NamedTuple

MARK = b"\x1e"

#: A line is cut to so many bytes, so that one write to the pipe is never mixed with another.
MAX_TEXT_BYTES = 3500

_FUNCTIONS = frozenset({"pre", "model", "post"})
_FIELDS = 5
_LEVEL_CHARACTERS = 16

#: A worker may print anything, also a head: seconds since the epoch (31,688 years), and stages.
_LATEST, _MOST_STAGES = 1e12, 100_000


class Said(NamedTuple):
    """A line with what is known of it. `stage` is 0 and `run_id` None for what no run said."""

    text: str
    run_id: str | None = None
    at: float = 0.0
    stage: int = 0
    function: str = ""
    level: str = "output"


def head_of(run_id: str, at: float, stage: int, function: str, level: str) -> bytes:
    """Return what stands before the text of a line; `at` in seconds since the epoch."""
    return f"\x1e{run_id} {at:.6f} {stage} {function} {level}\x1e".encode("utf-8", "replace")


def read_line(line: bytes) -> Said:
    """Return a line with what its head says; one with a head that is none has no run."""
    if line[:1] != MARK:
        return Said(line.decode("utf-8", "replace"))
    head, mark, text = line[1:].partition(MARK)
    fields = head.decode("utf-8", "replace").split(" ")
    if not mark or len(fields) != _FIELDS:
        return Said(line.decode("utf-8", "replace"))
    run_id, at, stage, function, level = fields
    try:
        told = float(at), int(stage)
    except ValueError:
        return Said(line.decode("utf-8", "replace"))
    if not (0.0 <= told[0] <= _LATEST and 0 <= told[1] <= _MOST_STAGES):  # also what is no number
        return Said(line.decode("utf-8", "replace"))
    known = function if function in _FUNCTIONS else ""
    return Said(
        text.decode("utf-8", "replace"), run_id[:36], *told, known, level[:_LEVEL_CHARACTERS]
    )
