"""Watches the predictions of deployments: drift from a reference, accuracy by later truths, alerts.

`recorder` hands over calls that went well, at most `PER_TICK` of a version and second; what they
held is read and counted in the store's thread, never on the event loop. Called by the monitoring
routes and the dashboard.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from penstock.codec.light import UNREADABLE, is_light
from penstock.codec.payload import decode
from penstock.control.insight import drift
from penstock.control.insight.drift import Profiled
from penstock.control.insight.monitor_views import (
    AlertBody,
    FeedbackAnswer,
    Monitor,
    MonitorBody,
    MonitorView,
)
from penstock.control.insight.profiles import count_into, divide, named
from penstock.control.insight.recorder import Recorder
from penstock.control.insight.reference import monitor_of
from penstock.control.insight.store_thread import InsightThread
from penstock.control.insight.truth import verdict_of
from penstock.control.predict import PredictCall
from penstock.core.errors import NotFound, PenstockError
from penstock.core.monitor_records import Feedback, Prediction
from penstock.engine.base import Answer

log = logging.getLogger("penstock.insight")

#: Seconds of a profile, and between two looks at the limits.
STEP_S = 600
LOOK_S = 10.0

#: Bytes of bodies that wait to be counted, at most; bytes of one output.
MOST_BYTES = 32 * 1024 * 1024
_OUTPUT_BYTES = 4096

Name = tuple[str, str]

#: Tells an address of an alert: url, project, body.
Tell = Callable[[str, str, bytes], Awaitable[None]]


class _Seen(NamedTuple):
    """A call that went well, as far as it is to be counted."""

    name: Name
    version: int
    run_id: str
    at: float
    media_type: str
    body: bytes
    answer: bytes


class _Envelope(msgspec.Struct):
    result: Any
    prediction_ids: list[str]


class Monitoring:
    """The watched deployments. Every public method runs on the event loop.

    Args:
        recorder: Hands over calls.
        thread: Where all of it is kept.
        check_url: Returns a webhook URL in its plain form or raises `InvalidWebhookUrl`.
        tell: Tells an address of an alert.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        recorder: Recorder,
        thread: InsightThread,
        check_url: Callable[[str], str],
        tell: Tell,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._recorder = recorder
        self._thread = thread
        self._check_url = check_url
        self._tell = tell
        self._now = now
        self._monitors: dict[Name, Monitor] = {}
        self._seen: list[_Seen] = []
        self._bytes = 0
        self._open: dict[Name, tuple[int, Profiled]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Go on watching what was watched."""
        store = self._thread.store.monitor
        for project, deployment, data in await self._thread.call(store.all):
            self._watch((project, deployment), msgspec.msgpack.decode(data, type=Monitor))

    async def work(self) -> None:
        """Count, and look at the limits, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.count()
                for name in list(self._monitors):
                    await self._look(name)
            except PenstockError as error:
                log.error("Predictions could not be watched: %s", error)
            except Exception:
                log.exception("Predictions could not be watched.")

    def _watch(self, name: Name, monitor: Monitor) -> None:
        self._monitors[name] = monitor
        self._recorder.observe(*name, self._take)

    # --- what is asked ---

    async def put(self, project: str, deployment: str, asked: MonitorBody) -> MonitorView:
        """Watch a deployment from now on; what was counted for another reference goes.

        Raises:
            InvalidSetting: The reference cannot be used, or a limit is out of range.
            InvalidWebhookUrl: The alert's address can never be called.
        """
        url = None if asked.alert_url is None else self._check_url(asked.alert_url)
        monitor = await self._thread.call(monitor_of, asked, url, self._now())
        name, store = (project, deployment), self._thread.store.monitor
        await self.remove(project, deployment)
        await self._thread.call(store.put, project, deployment, msgspec.msgpack.encode(monitor))
        self._watch(name, monitor)
        return await self.get(project, deployment)

    async def get(self, project: str, deployment: str) -> MonitorView:
        """Return how a deployment fares beside its reference. Raises `NotFound`."""
        monitor = self._monitors.get((project, deployment))
        if monitor is None:
            raise NotFound(
                f"Predictions of deployment {deployment!r} are not watched.",
                hint="Give a reference: deploy(..., reference=...) or Endpoint.monitor().",
            )
        await self.count()
        store, now = self._thread.store.monitor, self._now()
        found = await self._thread.call(drift.look, store, project, deployment, monitor, now)
        return drift.view_of(project, deployment, monitor, found)

    def watches(self, project: str, deployment: str) -> bool:
        """Whether a deployment is watched."""
        return (project, deployment) in self._monitors

    async def truths(self, run_id: str) -> dict[str, tuple[str, bool | None]]:
        """Return what was told about predictions of a run, by their ids.

        Each has the truth as JSON and whether the prediction was right, None for numbers.
        """
        return await self._thread.call(self._thread.store.monitor.truths, run_id)

    async def remove(self, project: str, deployment: str) -> None:
        """Watch a deployment no more."""
        name = (project, deployment)
        self._monitors.pop(name, None)
        self._recorder.observe(project, deployment, None)
        self._open.pop(name, None)
        await self._thread.call(self._thread.store.monitor.put, project, deployment, None)

    async def feedback(
        self, project: str, deployment: str, truths: dict[str, Any]
    ) -> FeedbackAnswer:
        """Take the truth about predictions, by their ids; one told again replaces the first."""
        await self.count()
        return await self._thread.call(self._give, project, deployment, truths)

    def _give(self, project: str, deployment: str, truths: dict[str, Any]) -> FeedbackAnswer:
        store = self._thread.store.monitor
        known = store.predictions(list(truths))
        told, unknown = [], []
        for prediction_id, truth in truths.items():
            about = known.get(prediction_id)
            if about is None or (about.project, about.deployment) != (project, deployment):
                unknown.append(prediction_id)
                continue
            verdict = verdict_of(msgspec.json.decode(about.output), truth)
            text = msgspec.json.encode(truth).decode()
            told.append(Feedback(about, self._now(), text, *verdict))
        store.give(told)
        return FeedbackAnswer(len(told), unknown)

    # --- what is counted ---

    def _take(self, call: PredictCall, answer: Answer, took_ns: int) -> None:
        """Take a call that went well."""
        body = call.body.data
        size = len(answer.body) + (len(body) if body is not None else 0)
        if answer.media or self._bytes + size > MOST_BYTES:
            return
        key = call.pool.key
        self._bytes += size
        self._seen.append(
            _Seen(
                (key.project, key.deployment),
                key.number,
                call.run_id,
                self._now() - took_ns / 1e9,
                call.media_type.decode("latin-1"),
                body or b"",
                bytes(answer.body),
            )
        )

    async def count(self) -> None:
        """Count what was taken since the last time."""
        seen, self._seen, self._bytes = self._seen, [], 0
        if seen:
            await self._thread.call(self._count, seen)

    def _count(self, seen: list[_Seen]) -> None:
        """Runs in the store's thread, which alone uses `_open`."""
        predictions: list[Prediction] = []
        touched = set()
        for one in seen:
            monitor = self._monitors.get(one.name)
            if monitor is None:
                continue
            try:
                predictions += self._count_one(one, monitor)
            except Exception:  # one call's values must not cost the others theirs
                log.exception("Run %s could not be counted.", one.run_id)
            if one.name in self._open:
                touched.add(one.name)
        profiles = [drift.profile_of(*name, *self._open[name]) for name in touched]
        self._thread.store.monitor.add(profiles, predictions)

    def _count_one(self, seen: _Seen, monitor: Monitor) -> list[Prediction]:
        if not (is_light(seen.answer, MOST_BYTES) and is_light(seen.body, MOST_BYTES)):
            return []  # to read it would take too long
        try:
            answer = msgspec.json.decode(seen.answer, type=_Envelope)
        except UNREADABLE:
            return []  # asked for without its envelope
        profiled = self._profile(seen.name, int(seen.at) // STEP_S * STEP_S)
        results = divide(answer.result, len(answer.prediction_ids))
        for item in _inputs(seen, len(results)):
            count_into(profiled.features, monitor.features, named(item, monitor.feature_names))
        found = []
        for prediction_id, item in zip(answer.prediction_ids, results, strict=True):
            count_into(profiled.outputs, monitor.outputs, named(item, monitor.target_names))
            output = msgspec.json.encode(item)
            if len(output) <= _OUTPUT_BYTES:
                told = output.decode()
                found.append(Prediction(prediction_id, *seen.name, seen.version, seen.at, told))
        return found

    def _profile(self, name: Name, start: int) -> Profiled:
        """Return the counts that go on; those of before a restart are read again."""
        there = self._open.get(name)
        if there is None or there[0] != start:
            counted = Profiled()
            for old in self._thread.store.monitor.profiles(*name, start):
                if old.start == start:
                    counted = drift.read_profile(old.data)
            there = self._open[name] = (start, counted)
        return there[1]

    # --- alerts ---

    async def _look(self, name: Name) -> None:
        """Tell of limits that are passed, and that all is well again; once each."""
        monitor = self._monitors.get(name)
        if monitor is None:
            return
        view = await self.get(*name)
        features = {f.name: f.index for f in view.features if f.state == "changed" and f.index}
        outputs = {o.name: o.index for o in view.outputs if o.state == "changed" and o.index}
        store, since = self._thread.store.monitor, self._now() - monitor.window_s
        found = await self._thread.call(store.quality, *name, since, 1 << 40)
        labels, accuracy = drift.accuracy_of(found)
        problems = [f"feature {n} changed" for n in features]
        problems += [f"output {n} changed" for n in outputs]
        if (
            monitor.min_accuracy is not None
            and accuracy is not None
            and labels >= monitor.min_rows
            and accuracy < monitor.min_accuracy
        ):
            problems.append("accuracy is low")
        if problems == monitor.problems or self._monitors.get(name) is not monitor:
            return
        monitor.problems = problems
        await self._thread.call(store.put, *name, msgspec.msgpack.encode(monitor))
        if monitor.alert_url is None:
            return
        state = "problem" if problems else "well"
        told = AlertBody(
            "monitoring", *name, self._now(), state, problems, features, outputs, accuracy
        )
        task = asyncio.create_task(
            _tell(self._tell, monitor.alert_url, name[0], msgspec.json.encode(told))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _tell(tell: Tell, url: str, project: str, body: bytes) -> None:
    try:
        await tell(url, project, body)
    except PenstockError as error:
        log.error("The alert could not be told to %s: %s", url, error)


def _inputs(seen: _Seen, count: int) -> list[Any]:
    if not seen.body:
        return []
    try:
        data = decode(seen.media_type, seen.body).data
    except PenstockError:
        return []
    return divide(data.tolist() if hasattr(data, "tolist") else data, count)
