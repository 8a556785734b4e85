"""Where a run stopped: the user's function with the line that failed, and the traceback."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from penstock.control.insight.run_details import RunDetails
from penstock.core.errors import NotFound
from penstock.dashboard import colour
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Visit

#: Lines of the function shown around the one that failed.
_AROUND = 8

_FRAME = re.compile(r'\s*File "(?:.*/)?([^"/]+)", line (\d+), in (.+)')

#: The frame that a comprehension has of its own before Python 3.12: its line is that of the frame
#: before it.
_COMPREHENSION = re.compile(
    r'\n *File "[^"]*", line \d+, in <(?:list|dict|set)comp>\n    [^\n]*(?:\n *[~^]+ *(?=\n))?'
)


class Place(NamedTuple):
    """Where user code stopped: the function's lines, with the number of the one that failed."""

    file: str
    function: str
    line: int
    lines: list[tuple[int, Any]]
    values: list[tuple[str, str]]
    key: str


async def place_of(visit: Visit, parts: Parts, details: RunDetails) -> Place | None:
    """Return the lines of the user's function that raised, as it was deployed."""
    error, at, summary = details.error, details.error_place, details.run
    if not error or not at or summary.version is None:
        return None
    try:
        code = await parts.code.of(visit.project, summary.deployment, summary.version)
    except NotFound:
        return None
    number = int(at.get("line") or 0)
    stage, role = error.get("stage"), error.get("function")
    wanted = [p for p in code.parts if p.key == f"s{stage}-{role}"]
    wanted += [
        p for p in code.parts if p.file and p.file.endswith(str(at.get("file")).rpartition("/")[2])
    ]
    for part in wanted:
        for piece in part.pieces:
            marked = colour.lines(colour.python(piece.text))
            if piece.line <= number < piece.line + len(marked):
                lines = [(piece.line + i, text) for i, text in enumerate(marked)]
                near = [ln for ln in lines if abs(ln[0] - number) <= _AROUND]
                told = str(at.get("function") or "")
                name = part.title if not told or told.startswith("<") else told
                return Place(part.file or part.title, name, number, near, _values(error), part.key)
    return None


def _values(error: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names on the line that failed and what they held, where that is told."""
    facts = error.get("facts")
    held = facts.get("values") if isinstance(facts, dict) else None
    if not isinstance(held, dict):
        return []
    return [(str(name), str(value)) for name, value in held.items()]


def frames_of(details: RunDetails) -> list[tuple[str, bool]]:
    """Return the lines of the traceback for people; the last one, which names the error, is marked.

    Folders of the worker and the marks below lines say nothing to them.
    """
    trace = str((details.error or {}).get("traceback") or "").rstrip()
    lines: list[str] = []
    for line in _COMPREHENSION.sub("", trace).splitlines():
        found = _FRAME.match(line)
        if found:
            lines.append(f"{found[1]}:{found[2]} in {found[3]}")
        elif line.strip("~^ ") and not line.startswith("Traceback "):
            lines.append(line[2:] if line.startswith("    ") else line)
    return [(line, index == len(lines) - 1) for index, line in enumerate(lines)]
