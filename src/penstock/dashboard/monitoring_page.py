"""Predictions of a deployment, watched: drift of each feature and output, accuracy over time.

What is shown comes from `penstock.control.insight.monitoring`. Also takes the truth about the
predictions of one run, which the run's page asks for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.control.insight.drift import HOUR_S, HOURS
from penstock.control.insight.monitor_views import DriftView, GroupView, MonitorView, QualityView
from penstock.core.errors import NotFound
from penstock.core.records import Scope
from penstock.dashboard import drawn
from penstock.dashboard.deployment import header
from penstock.dashboard.parts import Parts
from penstock.dashboard.run_seen import seen_run
from penstock.dashboard.visit import Go, Page, Visit

#: Beginning of the names of a form's fields; the prediction's id follows.
FIELD = "truth-"

#: State of a value as a shape, a word and whether it is bad news.
_STATES = {
    "stable": ("on", "Stable"),
    "changing": ("proving", "Changing"),
    "changed": ("degraded", "Changed"),
    "few": ("idle", "Too few"),
}


class Row(NamedTuple):
    """One feature or output in a table."""

    value: DriftView
    shape: str
    word: str
    line: drawn.Gapped | None
    pairs: list[drawn.Pair]


async def monitoring(visit: Visit, parts: Parts) -> Page:
    """Answer how the predictions fare beside their reference, or how to give one."""
    values = await header(visit, parts, "monitoring")
    try:
        view: MonitorView | None = await parts.monitoring.get(visit.project, visit.name)
    except NotFound:
        view = None
    values["watch"] = view
    if view is not None:
        values |= {
            "features": [_row(one, view) for one in view.features],
            "outputs": [_row(one, view) for one in view.outputs],
            "changed": sum(one.state == "changed" for one in (*view.features, *view.outputs)),
            "accuracy": _mean(view.window_quality, "accuracy"),
            "error": _mean(view.window_quality, "mean_absolute_error"),
            "truths": sum(one.count for one in view.window_quality),
            "accuracy_line": _accuracy_line(view),
        }
    return Page("monitoring.html", values, part=visit.part("live-block", "monitoring_live.html"))


def _row(value: DriftView, view: MonitorView) -> Row:
    shape, word = _STATES[value.state]
    line = drawn.gapped(_by_hour(value), at_least=view.drift_threshold * 1.25)
    return Row(value, shape, word, line, drawn.pairs(_told(value.groups)))


def _by_hour(value: DriftView) -> list[float | None]:
    """Return the index of each of the last hours, the current one last; None: nothing came in."""
    known = dict(value.history)
    current = int(time.time()) // HOUR_S * HOUR_S
    return [known.get(current - back * HOUR_S) for back in reversed(range(HOURS))]


def _told(groups: Sequence[GroupView]) -> list[tuple[str, float, float]]:
    """Return the groups that any value fell into, then or now."""
    found = [(g.group, g.reference, g.now or 0.0) for g in groups]
    return [one for one in found if one[0] != "missing" or one[1] or one[2]]


def _mean(found: Sequence[QualityView], what: str) -> float | None:
    """Return the mean of a measure over versions, by how many truths each has."""
    known = [(getattr(one, what), one.count) for one in found if getattr(one, what) is not None]
    counts = sum(count for _value, count in known)
    return sum(value * count for value, count in known) / counts if counts else None


def _accuracy_line(view: MonitorView) -> drawn.Gapped | None:
    """Return the share of right labels by hour, of all versions; hours without truths are gaps.

    Of a single hour there is none: the table has its figure.
    """
    hours: dict[int, list[QualityView]] = {}
    for one in view.quality:
        hours.setdefault(one.start, []).append(one)
    if len(hours) < 2:
        return None
    first, last = min(hours), max(hours)
    shares = [_mean(hours.get(start, []), "accuracy") for start in range(first, last + 1, HOUR_S)]
    return drawn.gapped(shares, at_least=1.0)


async def tell(visit: Visit, parts: Parts) -> Go:
    """Take the truth about predictions of a run."""
    visit.require(Scope.PREDICT)
    run_id = visit.request.path_params["run_id"]
    summary = (await seen_run(visit, parts)).run
    fields = await visit.form()
    told: dict[str, Any] = {
        name[len(FIELD) :]: truth_of(text)
        for name, text in fields.items()
        if name.startswith(f"{FIELD}{run_id}-") and text.strip()
    }
    page = f"{visit.base}/runs/{run_id}"
    if not told:
        return Go(page, "No truth was given.", failed=True)
    answer = await parts.monitoring.feedback(visit.project, summary.deployment, told)
    if answer.unknown:
        words = f"{len(answer.unknown)} of {len(told)} are not kept: they were not watched."
        return Go(page, words, failed=True)
    return Go(page, f"Taken: the truth about {answer.taken} of its predictions.")


def truth_of(text: str) -> Any:
    """Return what a person typed: JSON where it is, else a label."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
