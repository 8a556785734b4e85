"""Everything about one run: its timeline, error, samples of input and result.

Called by `GET /v1/<project>/runs/<run_id>/details` and the dashboard, for runs of both kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.codec.bundle import read_manifest
from penstock.control.concealed import told_to_readers, without_values
from penstock.control.database import Database
from penstock.control.insight.kept_calls import KeepOptions
from penstock.control.insight.run_list import RunSummary, summary_of_call, summary_of_run
from penstock.control.insight.samples import Samples, sample
from penstock.control.insight.store_thread import InsightThread
from penstock.control.insight.timings import place_of, read_parts
from penstock.control.run_payloads import RunPayloads
from penstock.control.status import stage_views
from penstock.core.errors import NotFound
from penstock.core.insight_records import Alike, CallRecord
from penstock.core.names import is_run_id
from penstock.core.run_records import Payload, RunRecord


class TimelinePart(msgspec.Struct, frozen=True):
    """One part of a run's time, in the order it met them.

    `stage` is 0 outside of the stages. `start_ms` counts from the arrival; where calls were
    answered together a part may have waited for others, which shows in the last part, `answer`.
    `calls` and `rows` say what one call of the model answered, if it answered others too. `state`
    is `done`, `failed` (the part that raised) or `not_reached`.
    """

    name: str
    stage: int
    kind: str
    branch: str
    start_ms: float | None
    ms: float | None
    calls: int
    rows: int
    state: str


class Sample(msgspec.Struct, frozen=True):
    """What is kept of an input or a result.

    `kept` is `full`, `cut` (the beginning), `redacted` (types instead of values), `off` (the
    setting keeps none) or `no` (too large, or a form that is not kept). `text` is the JSON, when it
    is JSON; other media can be read from `/input`.
    """

    media_type: str
    size_bytes: int | None
    kept: str
    text: str | None


class RunDetails(msgspec.Struct, frozen=True):
    """A run with all that is kept of it. `error` has the traceback only for keys that may deploy.

    `error_place` is the last line of the user's own code: `file`, `line` and `function`.
    """

    run: RunSummary
    key_id: str
    prediction_ids: list[str]
    server_timing: str
    timeline: list[TimelinePart]
    error: dict[str, Any] | None
    error_place: dict[str, Any] | None
    input: Sample
    result: Sample | None


class RunInputs(msgspec.Struct, frozen=True):
    """The body of a run's request as it is kept, to show its files or to send it again."""

    media_type: str
    body: bytes
    cut: bool


#: Failures of a deployment that are looked at for the cause of one, and seconds before it.
ALIKE_MOST, _ALIKE_S = 2000, 86_400.0


class Details:
    """Looks up runs. Every method runs on the event loop.

    Args:
        database: Where asynchronous runs and versions are.
        thread: Where kept calls are.
        payloads: Inputs and results of asynchronous runs.
        options: What is shown of inputs and results.
    """

    def __init__(
        self,
        database: Database,
        thread: InsightThread,
        payloads: RunPayloads,
        options: KeepOptions,
    ) -> None:
        self._database = database
        self._thread = thread
        self._payloads = payloads
        self._options = options

    async def call(self, project: str, run_id: str) -> CallRecord | None:
        """Return a kept synchronous call, or None."""
        if not is_run_id(run_id):
            return None
        found = await self._thread.call(self._thread.store.call, run_id)
        return found if found is not None and found.project == project else None

    async def get(self, project: str, run_id: str, *, with_traceback: bool = False) -> RunDetails:
        """Return a run. Raises `NotFound`."""
        call = await self.call(project, run_id)
        if call is not None:
            steps = await self._steps(project, call.deployment, call.version)
            return self._of_call(call, steps, with_traceback)
        run = await self._run(project, run_id)
        steps = []
        if run.version is not None:
            steps = await self._steps(project, run.deployment, run.version)
        return await self._of_run(run, steps, with_traceback)

    async def input(self, project: str, run_id: str) -> RunInputs:
        """Return the request's body of a run. Raises `NotFound` when nothing of it is kept."""
        call = await self.call(project, run_id)
        if call is not None:
            if call.input is not None and self._options.samples is Samples.FULL:
                return RunInputs(call.media_type, call.input, call.input_cut)
        else:
            run = await self._run(project, run_id)
            if run.input is not None and self._options.samples is Samples.FULL:
                return RunInputs(run.media_type, await self._payloads.read(run.input), False)
        raise NotFound(
            f"The input of run {run_id[:64]!r} is not kept.",
            hint="The settings samples and sample_bytes say what is kept.",
        )

    async def alike(self, run: RunSummary) -> Sequence[Alike]:
        """Return which versions failed for the cause that a synchronous call failed for.

        Of the last day before it, and of the newest `ALIKE_MOST` failures. Empty for other runs.
        """
        if run.kind != "sync" or run.state != "failed" or not is_run_id(run.run_id):
            return []
        since = run.created_at - _ALIKE_S
        return await self._thread.call(self._thread.store.alike, run.run_id, since, ALIKE_MOST)

    async def _run(self, project: str, run_id: str) -> RunRecord:
        run = None
        if is_run_id(run_id):
            run = await self._database.call(self._database.records.runs.get, run_id)
        if run is None or run.project != project:
            raise NotFound(
                f"There is no run {run_id[:64]!r} in project {project!r}.",
                hint="Of good calls only a sample is kept; see the setting keep_successes.",
            )
        return run

    async def _steps(self, project: str, deployment: str, version: int) -> list[str]:
        """Return the parts that a call of a version meets when nothing fails."""
        find = self._database.records.get_deployment
        found = await self._database.call(find, project, deployment)
        versions = found.versions if found is not None else ()
        record = next((v for v in versions if v.number == version), None)
        if record is None:
            return []
        steps = ["queue", "decode"]
        for number, stage in enumerate(stage_views(read_manifest(record.manifest)), 1):
            kinds = (("pre", stage.pre), ("model", stage), ("post", stage.post))
            steps += [f"s{number}-{kind}" for kind, there in kinds if there is not None]
        return [*steps, "encode"]

    def _of_call(self, call: CallRecord, steps: list[str], with_traceback: bool) -> RunDetails:
        error = self._told(None if call.error is None else msgspec.json.decode(call.error))
        failed = call.code is not None
        result = None
        if not failed:
            result = self._shown(call.result, "application/json", None, call.result_cut)
        return RunDetails(
            run=summary_of_call(call),
            key_id=call.key_id,
            prediction_ids=_prediction_ids(call.run_id, call.points),
            server_timing=call.server_timing,
            timeline=timeline(call.server_timing, call.run_time_ms, steps, failed=failed),
            error=error if with_traceback else told_to_readers(error),
            error_place=_place(error),
            input=self._shown(call.input, call.media_type, call.size_bytes, call.input_cut),
            result=result,
        )

    async def _of_run(self, run: RunRecord, steps: list[str], with_traceback: bool) -> RunDetails:
        sent = await self._sampled(run.input)
        result = None
        if run.result is not None:
            shown, cut = await self._sampled(run.result)
            result = self._shown(shown, "application/json", run.result.size, cut)
        size = run.input.size if run.input is not None else None
        error = self._told(run.error)
        return RunDetails(
            run=summary_of_run(run),
            key_id=run.key_id,
            prediction_ids=_prediction_ids(run.run_id, run.points),
            server_timing=run.server_timing,
            timeline=timeline(
                run.server_timing, run.run_time_ms, steps, failed=run.error is not None
            ),
            error=error if with_traceback else told_to_readers(error),
            error_place=_place(error),
            input=self._shown(sent[0], run.media_type, size, sent[1]),
            result=result,
        )

    def _told(self, error: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return an error with the values on the line that failed only where inputs are shown."""
        if error is None or self._options.samples is Samples.FULL:
            return error
        return without_values(error)

    async def _sampled(self, payload: Payload | None) -> tuple[bytes | None, bool]:
        if payload is None or self._options.samples is Samples.OFF:
            return None, False
        body = await self._payloads.read(payload)
        return sample(body, len(body), self._options.sample_bytes, self._options.samples)

    def _shown(self, body: bytes | None, media_type: str, size: int | None, cut: bool) -> Sample:
        how = self._options.samples
        if how is Samples.OFF:
            return Sample(media_type, size, "off", None)
        if body is None:
            return Sample(media_type, size, "no", None)
        kept = "cut" if cut else "redacted" if how is Samples.REDACTED else "full"
        text = None
        if "json" in media_type or how is Samples.REDACTED:
            text = body.decode("utf-8", "replace")
        return Sample(media_type, size, kept, text)


def _prediction_ids(run_id: str, points: int) -> list[str]:
    return [f"{run_id}-{number}" for number in range(points)]


def _place(error: dict[str, Any] | None) -> dict[str, Any] | None:
    facts = (error or {}).get("facts")
    place = facts.get("place") if isinstance(facts, dict) else None
    return place if isinstance(place, dict) else None


def timeline(
    timing: str, whole_ms: float | None, steps: list[str], *, failed: bool
) -> list[TimelinePart]:
    """Return the parts of a run's time from its `Server-Timing`.

    Args:
        timing: The text.
        whole_ms: Milliseconds from arrival to answer, if known; what the parts leave of it is the
            last part, `answer`.
        steps: The parts a call of this version meets when nothing fails.
        failed: Whether the run failed: the last part is where.
    """
    parts, at = [], 0.0
    read = read_parts(timing)
    for index, (name, ms, calls, rows) in enumerate(read):
        state = "failed" if failed and index == len(read) - 1 and index > 0 else "done"
        place = place_of(name)
        parts.append(TimelinePart(name, *place, round(at, 3), ms, calls, rows, state))
        at += ms
    known = {part.name for part in parts}
    parts += [
        TimelinePart(name, *place_of(name), None, None, 1, 0, "not_reached")
        for name in steps
        if failed and name not in known
    ]
    if read and whole_ms is not None and not failed and whole_ms > at:
        rest = round(whole_ms - at, 3)
        parts.append(TimelinePart("answer", 0, "answer", "", round(at, 3), rest, 1, 0, "done"))
    return parts
