"""Figures as text that Prometheus reads (exposition format 0.0.4).

Used by `metrics`. A family is written whole: its help, its type, its samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Labels = Mapping[str, str]


class MetricText:
    """Families of samples, in the order they are added."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(
        self, name: str, kind: str, told: str, samples: Iterable[tuple[Labels, float]]
    ) -> None:
        """Add a counter or a gauge; one without samples is left out."""
        lines = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
        self._add(name, kind, told, lines)

    def histogram(
        self,
        name: str,
        told: str,
        samples: Iterable[tuple[Labels, Sequence[tuple[float, float]], float, float]],
    ) -> None:
        """Add a histogram.

        Args:
            name: Its name.
            told: What it is.
            samples: For each its labels, pairs of bound and number of values up to it, the number
                of all values and their sum.
        """
        lines = []
        for labels, bounds, count, total in samples:
            for bound, below in [*bounds, (float("inf"), count)]:
                le = _labels({**labels, "le": "+Inf" if bound == float("inf") else f"{bound:g}"})
                lines.append(f"{name}_bucket{le} {_number(below)}")
            lines.append(f"{name}_sum{_labels(labels)} {_number(total)}")
            lines.append(f"{name}_count{_labels(labels)} {_number(count)}")
        self._add(name, "histogram", told, lines)

    def _add(self, name: str, kind: str, told: str, lines: list[str]) -> None:
        if lines:
            self._lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *lines]

    def text(self) -> str:
        """Return all of it."""
        return "\n".join(self._lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
