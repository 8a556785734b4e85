"""The `Server-Timing` text of an answer, prepared so that each answer only fills in its numbers.

Used by `penstock.flow.service`. Parts are `queue`, `decode`, those of each stage and `encode`, each
with its milliseconds. Where one call of the model answered several runs the part says so:
`s1-model;dur=1.2;desc="5/9"` is five runs with nine rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.codec.results import milliseconds

#: Texts of different joined calls that are remembered.
_REMEMBERED = 512

#: For each joined model call: index of its time among a run's, runs and rows.
Joined = tuple[tuple[int, int, int], ...]


class TimingTexts:
    """Texts with a `%b` for each number, for one flow.

    Args:
        steps: The steps of the flow, in the order of a run's times.

    Attributes:
        alone: The text of a run whose model calls were its own.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._names = ("queue", "decode", *steps, "encode")
        self.alone = self._text(len(self._names), ())
        self._known: dict[Joined, bytes] = {}

    def joined(self, joined: Joined) -> bytes:
        """Return the text of a run that shared model calls with others."""
        text = self._known.get(joined)
        if text is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            text = self._known[joined] = self._text(len(self._names), joined)
        return text

    def taken(self, spent_ns: Sequence[int], joined: Joined) -> bytes:
        """Return the whole text of a run that took some of the steps, or ended before the last.

        Args:
            spent_ns: Nanoseconds of the steps so far; negative for those that were left out.
            joined: As of any run.
        """
        shared = _shared(joined)
        parts = [at for at, spent in enumerate(spent_ns) if spent >= 0 or at == 0]
        times = milliseconds([spent_ns[at] for at in parts])
        return b", ".join(
            f"{self._names[at]};dur=".encode() + time + shared.get(at, "").encode()
            for at, time in zip(parts, times, strict=True)
        )

    def _text(self, count: int, joined: Joined) -> bytes:
        shared = _shared(joined)
        parts = [
            f"{name};dur=%b{shared.get(at, '')}" for at, name in enumerate(self._names[:count])
        ]
        return ", ".join(parts).encode()


def _shared(joined: Joined) -> dict[int, str]:
    """Return what is said of shared model calls, by the part's place in the text."""
    return {1 + index: f';desc="{runs}/{rows}"' for index, runs, rows in joined}
