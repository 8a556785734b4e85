"""`/metrics`: what calls did and how the server fares, for Prometheus.

Called by `penstock.server.routes.metrics`. Labels are bounded: versions that run or were called in
the last hours, the most recent `MOST_VERSIONS` of them; error codes; the parts of a flow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from penstock.control.insight.histogram import SHOWN_NS, cumulative
from penstock.control.insight.metric_text import Labels, MetricText
from penstock.control.insight.points import ROW_GROUPS
from penstock.control.insight.recorder import Recorder
from penstock.control.insight.timings import place_of
from penstock.control.insight.totals import Totals
from penstock.control.pools import Pools
from penstock.control.predict import Predictor
from penstock.control.runs import Runs
from penstock.control.status import SandboxView
from penstock.engine.base import VersionKey

#: Versions whose figures are told, at most.
MOST_VERSIONS = 500

_SECONDS = [bound / 1e9 for bound in SHOWN_NS]
_STATES = ("starting", "loading", "ready", "stopping", "dead")

Row = tuple[Labels, Totals]

_IsMeant = Callable[[VersionKey], bool]


class Metrics:
    """Writes the metrics. Every method runs on the event loop.

    Args:
        recorder: What calls did.
        predictor: What is in hand and what was refused.
        pools: The replicas.
        runs: The asynchronous runs.
        version: Penstock's version.
        sandbox: Returns how workers are confined; None: not at all.
    """

    def __init__(
        self,
        recorder: Recorder,
        predictor: Predictor,
        pools: Pools,
        runs: Runs,
        version: str,
        sandbox: Callable[[], SandboxView | None],
    ) -> None:
        self._recorder = recorder
        self._predictor = predictor
        self._pools = pools
        self._runs = runs
        self._version = version
        self._sandbox = sandbox
        self._started_at = time.time()

    def text(self, project: str | None, only: Collection[str] | None = None) -> str:
        """Return the metrics of a project's versions (None: of all) and of the server.

        With `only` these are versions of these deployments alone.
        """

        def is_meant(key: VersionKey) -> bool:
            return project in {None, key.project} and (only is None or key.deployment in only)

        self._recorder.take()
        out = MetricText()
        rows = self._rows(is_meant)
        _calls(out, rows)
        _parts(out, rows)
        _model_calls(out, rows)
        self._versions(out, is_meant)
        self._server(out)
        return out.text()

    def _rows(self, is_meant: _IsMeant) -> list[Row]:
        rings = self._recorder.rings
        wanted = [k for k in self._recorder.totals if is_meant(k)]
        wanted.sort(key=lambda key: rings[key].touched if key in rings else 0.0, reverse=True)
        shown = sorted(wanted[:MOST_VERSIONS], key=str)
        return [(labels_of(key), self._recorder.totals[key]) for key in shown]

    def _versions(self, out: MetricText, is_meant: _IsMeant) -> None:
        tallies = [(key, tally) for key, tally in self._predictor.tallies.items() if is_meant(key)][
            :MOST_VERSIONS
        ]
        out.family(
            "penstock_calls_in_progress",
            "gauge",
            "Calls that wait or are being answered.",
            [(labels_of(key), max(0, tally.in_hand)) for key, tally in tallies],
        )
        out.family(
            "penstock_replicas",
            "gauge",
            "Worker processes by state.",
            self._replicas(is_meant),
        )

    def _replicas(self, is_meant: _IsMeant) -> Iterator[tuple[Labels, float]]:
        for key, pool in self._pools.running()[:MOST_VERSIONS]:
            if is_meant(key):
                states = [replica.state for replica in pool.status()]
                for state in _STATES:
                    yield {**labels_of(key), "state": state}, states.count(state)

    def _server(self, out: MetricText) -> None:
        lost = self._recorder.lost
        out.family(
            "penstock_requests_refused_total",
            "counter",
            "Predict requests that were answered with an error before they became calls.",
            [({"code": code}, n) for code, n in sorted(self._predictor.refused.items())],
        )
        out.family(
            "penstock_runs_open", "gauge", "Asynchronous runs that are queued or running.",
            [({}, self._runs.open)],
        )  # fmt: skip
        out.family(
            "penstock_insight_lost_total",
            "counter",
            "Calls and log lines that were not kept because too many came at once.",
            [({"what": what}, number) for what, number in lost.items()],
        )
        out.family(
            "penstock_loop_lag_seconds",
            "gauge",
            "How late the server's event loop came to its last tick.",
            [({}, self._recorder.lag_s)],
        )
        out.family(
            "penstock_info", "gauge", "The server's version.", [({"version": self._version}, 1)]
        )
        _guard(out, self._sandbox())
        _process(out, self._started_at)


def _guard(out: MetricText, state: SandboxView | None) -> None:
    """Write how workers are confined: the labels say it, the value is 1 where all is as asked."""
    if state is None:
        return
    labels = {
        "asked": state.asked,
        "tier": state.tier,
        "memory": state.memory,
        "users": "own" if state.users else "shared",
    }
    out.family(
        "penstock_sandbox_info",
        "gauge",
        "How workers are confined; 1 where that is what was asked for, else 0.",
        [(labels, int(not state.missing))],
    )


def labels_of(key: VersionKey) -> dict[str, str]:
    """Return the labels of a version."""
    return {"project": key.project, "deployment": key.deployment, "version": str(key.number)}


def _calls(out: MetricText, rows: Sequence[Row]) -> None:
    out.family(
        "penstock_calls_total",
        "counter",
        "Calls that were answered; code is ok or the error's code.",
        [
            ({**labels, "code": code}, number)
            for labels, totals in rows
            for code, number in {
                "ok": totals.point.calls - totals.point.failed,
                **totals.point.errors,
            }.items()
        ],
    )
    out.family(
        "penstock_calls_cancelled_total",
        "counter",
        "Calls whose caller went away before they were answered.",
        [(labels, totals.point.cancelled) for labels, totals in rows],
    )
    out.histogram(
        "penstock_call_duration_seconds",
        "Time from the arrival of a call to its answer, inside the server.",
        [
            (
                labels,
                list(zip(_SECONDS, cumulative(t.point.buckets), strict=True)),
                t.point.calls,
                t.point.time_ms / 1e3,
            )
            for labels, t in rows
        ],
    )


def _parts(out: MetricText, rows: Sequence[Row]) -> None:
    samples = []
    for labels, totals in rows:
        for name, counts in totals.parts.items():
            whole, place = totals.point.parts.get(name), place_of(name)
            if whole is None:
                continue
            where = {"stage": str(place.stage), "branch": place.branch, "part": place.kind}
            below, bounds = 0.0, []
            for bound, count in zip(_SECONDS, counts, strict=False):
                below += count
                bounds.append((bound, below))
            samples.append(({**labels, **where}, bounds, below + counts[-1], whole.ms / 1e3))
    out.histogram(
        "penstock_part_duration_seconds",
        "Time of one part of the calls: queue, decode, a stage's pre, model and post, encode. "
        "Above 200 calls a second an even sample stands for all.",
        samples,
    )


def _model_calls(out: MetricText, rows: Sequence[Row]) -> None:
    samples = []
    for labels, totals in rows:
        for name, groups in totals.point.model_calls.items():
            place = place_of(name)
            where = {"stage": str(place.stage), "branch": place.branch}
            below, bounds = 0.0, []
            for group in ROW_GROUPS:
                below += groups.get(group, 0.0)
                bounds.append((float(group), below))
            rows_sum = totals.point.rows.get(name)
            total = rows_sum.ms if rows_sum is not None else 0.0
            samples.append(({**labels, **where}, bounds, below, total))
    out.histogram(
        "penstock_joined_rows",
        "Rows of the model calls that answered several calls together.",
        samples,
    )


def _process(out: MetricText, started_at: float) -> None:
    """What every program tells Prometheus of itself, under the usual names."""
    times = os.times()
    out.family(
        "process_cpu_seconds_total", "counter", "User and system time of the server process.",
        [({}, times.user + times.system)],
    )  # fmt: skip
    out.family(
        "process_start_time_seconds", "gauge", "When the server was started.", [({}, started_at)]
    )
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        fds = len(os.listdir("/proc/self/fd"))
    except (OSError, ValueError):
        return
    out.family(
        "process_resident_memory_bytes", "gauge", "Memory of the server process.",
        [({}, pages * os.sysconf("SC_PAGE_SIZE"))],
    )  # fmt: skip
    out.family("process_open_fds", "gauge", "Open descriptors of the server process.", [({}, fds)])
