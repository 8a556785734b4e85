"""Answers calls: bytes in, bytes out. The worker's loop hands it all calls that wait together.

One bad call never harms another: what cannot be decoded, fails, or cannot be written as JSON gets
its own error, and the others go on. A run's memory is published after its answer is encoded and
before it is sent, so an answer that a caller holds is never ahead of the memory.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns
from typing import Any

from penstock.codec.answers import OTHER_FORMS, other_form
from penstock.codec.frames import (
    INFER,
    MEDIA_JSON,
    SHOW_TRACEBACK,
    CallFrame,
    ReplyFrame,
)
from penstock.codec.payload import decode
from penstock.codec.results import encode_json, envelope, error_body, milliseconds
from penstock.core.errors import DeadlineExceeded, InternalError, PenstockError
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.execute import At
from penstock.flow.loaded import LoadedFlow
from penstock.flow.publish import publish_all
from penstock.flow.setup import Await
from penstock.flow.space import Ask, MemorySpace
from penstock.flow.timing_texts import TimingTexts

_MILLION = 1e6

#: Media and body of an answer.
Answer = tuple[int, bytes]

_NO_ANSWER = (MEDIA_JSON, b"")

#: Calls taken at once until it is known whether their model calls may be joined.
_TO_PROVE = 4


class FlowService:
    """One loaded flow behind frames. One thread calls it.

    Args:
        flow: The flow.
        ask: Sends a request to the memory store and returns its answer.
        scratch: A folder of this process's own, for the working directories of runs. It becomes
            the working directory of the process.
        at: Is told the stage and the part of it that begins, so that a crash can be placed.
        notice: Is told facts that changed, such as why calls are joined or not.
        wait: Runs a coroutine of a `setup` that is `async def`.

    Raises:
        LoadFailed: A `setup` of the flow does not work.
    """

    def __init__(
        self,
        flow: LoadedFlow,
        ask: Ask,
        scratch: Path,
        *,
        at: At = lambda _stage, _part: None,
        notice: Callable[[dict[str, Any]], None] = lambda _facts: None,
        wait: Await | None = None,
    ) -> None:
        self._flow = flow
        self._space = MemorySpace(ask)
        flow.set_up(self._space, scratch.absolute() / "setup", wait)
        self._desk = Desk(scratch)
        self._desk.open()
        flow.stop_watching()
        self._texts = TimingTexts(flow.steps)
        self._timing = self._texts.alone
        self._has_choice = flow.has_choice
        self._at = at
        self._notice = notice
        self._flow.joining_changed()  # what is known from the start is in the first facts
        self._unproven, self._joins = flow.is_unproven(), flow.joins

    @property
    def together(self) -> int:
        """How many waiting calls are wanted at once; 0 when as many as time allows are fine.

        Some are wanted while it is not proven yet that their model calls may be joined.
        """
        return _TO_PROVE if self._unproven else 0

    @property
    def joins(self) -> bool:
        """Whether calls answered at once share work: model calls of some stage are joined."""
        return self._joins

    def facts(self) -> dict[str, Any]:
        """Return what people may see of the flow: models, inputs, functions, batching."""
        return self._flow.facts()

    def answer(self, calls: list[CallFrame]) -> list[ReplyFrame]:
        """Return one reply per call, in the order of the calls.

        Replies of calls that failed carry the error's code. Nothing is raised.
        """
        began = monotonic_ns()
        runs = self._take(calls, began)
        taken = [run for run in runs if run.error is None]
        if taken:
            self._execute(taken)
        answers = self._encode(calls, runs, began)
        publish_all(self._space, taken)
        replies = [
            self._reply(call, run, answer, began)
            for call, run, answer in zip(calls, runs, answers, strict=True)
        ]
        if self._flow.joining_changed():
            self._unproven, self._joins = self._flow.is_unproven(), self._flow.joins
            self._notice(self._flow.facts())
        return replies

    def _take(self, calls: list[CallFrame], began: int) -> list[Run]:
        """Return a run for each call; what is wrong with a call is its run's error."""
        space, admit = self._space, self._flow.admit
        runs = []
        at = began
        for call in calls:
            try:
                if 0 < call.deadline_ns < began:
                    raise _too_late(call, began)
                request = decode(call.media_type, call.body)
                admit(request)
                run = Run(
                    call.run_id,
                    request.data,
                    request.files,
                    request.count,
                    space,
                    call.deadline_ns,
                    request.parameters,
                )
                if call.flags & INFER:
                    run.form = request.form
            except PenstockError as error:
                run = _refused(call, space, error)
            except Exception:  # noqa: BLE001 - a defect in decoding one call must not harm others
                run = _refused(call, space, defect(call.run_id))
            runs.append(run)
            now = monotonic_ns()
            run.spent_ns.append(now - at)
            at = now
        return runs

    def _execute(self, runs: list[Run]) -> None:
        try:
            self._flow.execute(runs, self._desk, self._at)
        except Exception:  # noqa: BLE001 - a defect of ours: every call gets an answer all the same
            for run in runs:
                if run.error is None:
                    run.error = defect(run.id)

    def _encode(self, calls: list[CallFrame], runs: list[Run], began: int) -> list[Answer]:
        """Return the answer of each run; that of a run that failed is not used."""
        answers = []
        at = monotonic_ns()
        for call, run in zip(calls, runs, strict=True):
            answer = _NO_ANSWER
            if run.error is None:
                try:
                    other = None
                    if call.flags & OTHER_FORMS:
                        other = other_form(call.flags, run.form, run.value, run.id)
                    result = encode_json(run.value) if other is None else b""
                    now = monotonic_ns()
                    if other is None:
                        body = envelope(result, run.id, (now - began) / _MILLION, run.count)
                        answer = MEDIA_JSON, body
                    else:
                        answer = other
                    run.spent_ns.append(now - at)
                    at = now
                except PenstockError as error:
                    run.error = self._flow.blame(error)
                except Exception:  # noqa: BLE001 - a defect in encoding one result
                    run.error = defect(run.id)
            answers.append(answer)
            if run.folder is not None:
                self._desk.finish(run)
        return answers

    def _reply(self, call: CallFrame, run: Run, answer: Answer, began: int) -> ReplyFrame:
        if run.error is not None:
            error, run.error = run.error, None  # lets go of the traceback and all it holds
            return self._refuse(call, run, error, began)
        spent = (began - call.arrived_ns, *run.spent_ns)
        media, body = answer
        if self._has_choice:
            timing = self._texts.taken(spent, run.joined)
        else:
            text = self._texts.joined(run.joined) if run.joined else self._timing
            timing = text % milliseconds(spent)
        return ReplyFrame(call.call_id, b"", media, timing, body)

    def _refuse(self, call: CallFrame, run: Run, error: PenstockError, began: int) -> ReplyFrame:
        """Answer with an error; its timing has the steps up to the one that failed."""
        body = error_body(error, call.run_id, bool(call.flags & SHOW_TRACEBACK))
        spent = (began - call.arrived_ns, *run.spent_ns)
        timing = self._texts.taken(spent, run.joined)
        return ReplyFrame(call.call_id, error.code.encode(), MEDIA_JSON, timing, body)


def _refused(call: CallFrame, space: MemorySpace, error: PenstockError) -> Run:
    run = Run(call.run_id, None, [], 0, space)
    run.error = error
    return run


def _too_late(call: CallFrame, began: int) -> DeadlineExceeded:
    late = (began - call.deadline_ns) / _MILLION
    return DeadlineExceeded(
        f"The call waited in the queue until {late:.0f} ms after its time limit.",
        hint="Send fewer calls at once, or deploy with more replicas.",
    )


def defect(run_id: str) -> InternalError:
    """Print the traceback to the log and return the error the caller gets."""
    print(f"penstock: run {run_id} met a defect:", file=sys.stderr)  # noqa: T201
    traceback.print_exc()
    return InternalError(
        f"Run {run_id} met a defect of Penstock.", hint="The worker's log has the details."
    )
