"""A version's flow as the pipe on the pages: stages, chambers, what passes between them, times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock.control.status import StageView, VersionView
from penstock.dashboard.drawn import Bar, bars


class Chamber(NamedTuple):
    """A function or a model. `ms` is the mean, None when nothing was measured."""

    kind: str
    name: str
    key: str
    ms: float | None
    stopped: bool = False
    dry: bool = False


class Section(NamedTuple):
    """A stage: its chambers, None for a function that is not there, and what passes into it."""

    number: int
    model_type: str
    size: int
    chambers: list[Chamber | None]
    passes: str
    width: str
    dry: bool = False


class Pipe(NamedTuple):
    """The drawing. `state` is `serving` or `dry`; `units` is how wide it wants to be."""

    state: str
    sections: list[Section]
    queue_ms: float | None
    result: str
    scale: list[Bar]
    mean_ms: float | None
    units: float
    sentence: str


_WIDTHS = {0: "u15", 1: "u25", 2: "u35"}


def pipe_of(
    version: VersionView,
    means: Mapping[tuple[int, str], float],
    *,
    state: str = "serving",
    facts: Sequence[Mapping[str, Any]] = (),
    answers: str = "",
) -> Pipe:
    """Return the pipe of a version.

    Args:
        version: The version.
        means: Mean milliseconds by stage and kind; the queue is at `(0, "queue")`.
        state: `serving`, `starting` or `dry`.
        facts: What a replica said of each stage, if one did.
        answers: Type of the result, when known.
    """
    stop = _stopped_at(version.failure)
    sections, dry = [], False
    for number, stage in enumerate(version.stages, 1):
        chambers: list[Chamber | None] = []
        for kind, name in _chambers(stage):
            if name is None:
                chambers.append(None)
                continue
            stopped = stop == (number, kind)
            key = f"s{number}-{kind}"
            chambers.append(
                Chamber(kind, name, key, means.get((number, kind)), stopped, dry or bool(stop))
            )
            dry = dry or stopped
        functions = sum(1 for c in chambers if c is not None) - 1
        passes = _first_pass(version) if number == 1 else _shape(facts, number)
        sections.append(
            Section(
                number, stage.model_type, stage.size_bytes, chambers, passes, _WIDTHS[functions]
            )
        )
    spans = [("queue", 0, means.get((0, "queue"), 0.0))]
    spans += [
        (c.kind, s.number, c.ms or 0.0) for s in sections for c in s.chambers if c is not None
    ]
    measured = [amount for _kind, _stage, amount in spans if amount]
    units = sum({"u15": 2.02, "u25": 2.76, "u35": 3.5}[s.width] for s in sections)
    return Pipe(
        state=state,
        sections=sections,
        queue_ms=means.get((0, "queue")),
        result=answers or "answer",
        scale=bars(spans),
        mean_ms=sum(measured) if measured else None,
        units=units,
        sentence=_sentence(sections),
    )


def _chambers(stage: StageView) -> list[tuple[str, str | None]]:
    return [
        ("pre", stage.pre.name if stage.pre else None),
        ("model", stage.model),
        ("post", stage.post.name if stage.post else None),
    ]


def _stopped_at(failure: Mapping[str, Any] | None) -> tuple[int, str] | None:
    if not failure or not failure.get("stage"):
        return None
    return int(failure["stage"]), str(failure.get("function") or "model")


def _first_pass(version: VersionView) -> str:
    return "data, files" if version.uses_files else "data"


def _shape(facts: Sequence[Mapping[str, Any]], number: int) -> str:
    """Return what the model of a stage takes, as `float32 [n, 128]`, if it says so."""
    for fact in facts:
        inputs = fact.get("inputs") if fact.get("stage") == number else None
        if inputs:
            first = inputs[0]
            shape = ", ".join("n" if s is None else str(s) for s in first.get("shape") or [])
            dtype = first.get("dtype") or "array"
            return f"{dtype} [{shape}]" if shape else str(dtype)
    return "array"


def _sentence(sections: Sequence[Section]) -> str:
    told = []
    for section in sections:
        names = [
            f"{c.kind} {c.name}" + (f" {c.ms:.1f} ms" if c.ms is not None else "")
            for c in section.chambers
            if c is not None
        ]
        told.append(f"stage {section.number}, {section.model_type}: {', '.join(names)}")
    return "The flow: " + "; ".join(told) + "."
