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

from penstock.codec.frames import (
    ACCEPT_NPY,
    MEDIA_JSON,
    MEDIA_NPY,
    SHOW_TRACEBACK,
    CallFrame,
    ReplyFrame,
)
from penstock.codec.npy import result_array, write_npy
from penstock.codec.payload import decode
from penstock.codec.results import encode_json, envelope, error_body
from penstock.core.errors import DeadlineExceeded, InternalError, PenstockError
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.execute import At
from penstock.flow.loaded import LoadedFlow
from penstock.flow.publish import publish_all
from penstock.flow.space import Ask, MemorySpace

_MILLION = 1e6

#: Calls taken at once until it is known whether their model calls may be joined.
_TO_PROVE = 4


class _Taken:
    """A call that was decoded, with its run and, in the end, its answer."""

    __slots__ = ("body", "call", "decode_ns", "encode_ns", "media", "run")

    def __init__(self, call: CallFrame, run: Run, decode_ns: int) -> None:
        self.call = call
        self.run = run
        self.decode_ns = decode_ns
        self.encode_ns = 0
        self.media = MEDIA_JSON
        self.body = b""


class FlowService:
    """One loaded flow behind frames. One thread calls it.

    Args:
        flow: The flow.
        ask: Sends a request to the memory store and returns its answer.
        scratch: A folder of this process's own, for the working directories of runs. It becomes
            the working directory of the process.
        at: Is told the stage and the part of it that begins, so that a crash can be placed.
        notice: Is told facts that changed, such as why calls are joined or not.
    """

    def __init__(
        self,
        flow: LoadedFlow,
        ask: Ask,
        scratch: Path,
        *,
        at: At = lambda _stage, _part: None,
        notice: Callable[[dict[str, Any]], None] = lambda _facts: None,
    ) -> None:
        self._flow = flow
        self._space = MemorySpace(ask)
        self._desk = Desk(scratch)
        self._desk.open()
        steps = ("queue", "decode", *flow.steps, "encode")
        self._timing = ", ".join(f"{step};dur=%.3f" for step in steps).encode()
        self._at = at
        self._notice = notice
        self._flow.joining_changed()  # what is known from the start is in the first facts
        self._unproven = flow.is_unproven()

    @property
    def together(self) -> int:
        """How many waiting calls are wanted at once; 0 when as many as time allows are fine.

        Some are wanted while it is not proven yet that their model calls may be joined.
        """
        return _TO_PROVE if self._unproven else 0

    def facts(self) -> dict[str, Any]:
        """Return what people may see of the flow: models, inputs, functions, batching."""
        return self._flow.facts()

    def answer(self, calls: list[CallFrame]) -> list[ReplyFrame]:
        """Return one reply per call, in the order of the calls.

        Replies of calls that failed carry the error's code. Nothing is raised.
        """
        began = monotonic_ns()
        replies: dict[int, ReplyFrame] = {}
        taken: list[_Taken] = []
        for call in calls:
            run = self._take(call, began)
            if isinstance(run, _Taken):
                taken.append(run)
            else:
                replies[call.call_id] = self._refuse(call, run, began)
        if taken:
            self._execute(taken)
            self._encode(taken, began)
            publish_all(self._space, [item.run for item in taken])
        for item in taken:
            replies[item.call.call_id] = self._reply(item, began)
        if self._flow.joining_changed():
            self._unproven = self._flow.is_unproven()
            self._notice({"batching": self._flow.batching()})
        return [replies[call.call_id] for call in calls]

    def _take(self, call: CallFrame, began: int) -> _Taken | PenstockError:
        start = monotonic_ns()
        if 0 < call.deadline_ns < began:
            late = (began - call.deadline_ns) / _MILLION
            return DeadlineExceeded(
                f"The call waited in the queue until {late:.0f} ms after its time limit.",
                hint="Send fewer calls at once, or deploy with more replicas.",
            )
        try:
            request = decode(call.media_type, call.body)
            self._flow.admit(request)
        except PenstockError as error:
            return error
        except Exception:  # noqa: BLE001 - a defect in decoding one call must not harm others
            return _defect(call.run_id)
        run = Run(
            call.run_id, request.data, request.files, request.count, self._space, call.deadline_ns
        )
        return _Taken(call, run, monotonic_ns() - start)

    def _execute(self, taken: list[_Taken]) -> None:
        try:
            self._flow.execute([item.run for item in taken], self._desk, self._at)
        except Exception:  # noqa: BLE001 - a defect of ours: every call gets an answer all the same
            for item in taken:
                if item.run.error is None:
                    item.run.error = _defect(item.run.id)

    def _encode(self, taken: list[_Taken], began: int) -> None:
        for item in taken:
            run = item.run
            if run.error is None:
                start = monotonic_ns()
                try:
                    self._write(item, began)
                except PenstockError as error:
                    error.stage = error.stage or len(self._flow.stages)
                    run.error = error
                except Exception:  # noqa: BLE001 - a defect in encoding one result
                    run.error = _defect(run.id)
                item.encode_ns = monotonic_ns() - start
            if run.folder is not None:
                self._desk.finish(run)

    @staticmethod
    def _write(item: _Taken, began: int) -> None:
        run = item.run
        array = result_array(run.value) if item.call.flags & ACCEPT_NPY else None
        if array is not None:
            item.body = write_npy(array)
            item.media = MEDIA_NPY
            return
        result = encode_json(run.value)
        spent_ms = (monotonic_ns() - began) / _MILLION
        item.body = envelope(result, run.id, spent_ms, run.count)

    def _reply(self, item: _Taken, began: int) -> ReplyFrame:
        call, run = item.call, item.run
        error = run.error
        if error is not None:
            run.error = None  # lets go of the traceback and all it holds
            return self._refuse(call, error, began)
        timing = self._timing % (
            (began - call.arrived_ns) / _MILLION,
            item.decode_ns / _MILLION,
            *[spent / _MILLION for spent in run.spent_ns],
            item.encode_ns / _MILLION,
        )
        return ReplyFrame(call.call_id, b"", item.media, timing, item.body)

    @staticmethod
    def _refuse(call: CallFrame, error: PenstockError, began: int) -> ReplyFrame:
        body = error_body(error, call.run_id, bool(call.flags & SHOW_TRACEBACK))
        timing = b"queue;dur=%.3f" % ((began - call.arrived_ns) / _MILLION)
        return ReplyFrame(call.call_id, error.code.encode(), MEDIA_JSON, timing, body)


def _defect(run_id: str) -> InternalError:
    """Print the traceback to the log and return the error the caller gets."""
    print(f"penstock: run {run_id} met a defect:", file=sys.stderr)  # noqa: T201
    traceback.print_exc()
    return InternalError(
        f"Run {run_id} met a defect of Penstock.", hint="The worker's log has the details."
    )
