"""A reference as it is given, worked out to groups of values; called by `monitoring`."""

from __future__ import annotations

from typing import Any

from penstock.control.insight.monitor_views import Monitor, MonitorBody
from penstock.control.insight.profiles import Groups, divide, groups_of, named
from penstock.core.errors import InvalidSetting

#: Rows of one reference, at most.
MOST_ROWS = 100_000


def monitor_of(asked: MonitorBody, url: str | None, now: float) -> Monitor:
    """Return how a deployment is to be watched from now on. Raises `InvalidSetting`."""
    if asked.inputs is None and asked.results is None:
        raise InvalidSetting(
            "A reference needs inputs, results, or both.",
            hint="Give rows as calls send them, such as a part of the training data.",
        )
    if not 60 <= asked.window_s <= 30 * 86400:
        raise InvalidSetting(f"window_s is {asked.window_s:g}; it must be from 60 to 2592000.")
    if not 0 < asked.drift_threshold <= 100:
        raise InvalidSetting(f"drift_threshold is {asked.drift_threshold:g}; it must be over 0.")
    return Monitor(
        features=_reference("inputs", asked.inputs, asked.features),
        outputs=_reference("results", asked.results, asked.targets),
        feature_names=asked.features,
        target_names=asked.targets,
        window_s=asked.window_s,
        drift_threshold=asked.drift_threshold,
        min_rows=max(1, asked.min_rows),
        min_accuracy=asked.min_accuracy,
        alert_url=url,
        created_at=now,
    )


def _reference(what: str, given: Any, names: list[str]) -> dict[str, Groups]:
    if given is None:
        return {}
    count = len(given) if isinstance(given, list) else 0
    if isinstance(given, dict):
        count = max((len(c) for c in given.values() if isinstance(c, list)), default=0)
    rows = [named(item, names) for item in divide(given, count)] if count else []
    if not 10 <= len(rows) <= MOST_ROWS:
        raise InvalidSetting(
            f"The reference's {what} have {len(rows)} rows; 10 to {MOST_ROWS} are of use.",
            hint="Give a list of rows, or a dict of columns of one length.",
        )
    seen = dict.fromkeys(name for row in rows for name in row)
    return {name: groups_of([row.get(name) for row in rows]) for name in seen}
