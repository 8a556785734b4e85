"""Whether a prediction met the truth; called by `monitoring` when feedback comes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from penstock.control.insight.profiles import as_text


class Verdict(NamedTuple):
    """`correct` for labels, `difference` for numbers; both None where they cannot be compared."""

    correct: bool | None
    difference: float | None


def verdict_of(output: Any, truth: Any) -> Verdict:
    """Compare a prediction with the truth.

    A list of one value is that value. A list of numbers beside a whole number is a list of
    probabilities: its largest is the label. Two numbers of which one has a fraction are compared
    by their difference; everything else as labels.
    """
    output, truth = _single(output), _single(truth)
    if isinstance(output, list) and _is_whole(truth) and all(map(_is_number, output)):
        return Verdict(max(range(len(output)), key=output.__getitem__) == truth, None)
    if isinstance(output, dict | list) or isinstance(truth, dict | list):
        return Verdict(
            json.dumps(output, sort_keys=True) == json.dumps(truth, sort_keys=True), None
        )
    if _is_number(output) and _is_number(truth) and not (_is_whole(output) and _is_whole(truth)):
        return Verdict(None, abs(float(output) - float(truth)))
    return Verdict(as_text(output) == as_text(truth), None)


def _single(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:
        return _single(value[0])
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()
