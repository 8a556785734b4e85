"""The worker's loop for a service that holds several calls at once, because its functions wait.

`worker` hands over to `serve` when the service says how many it holds (`Overlapping`). A thread
reads calls and seats them, in order, as seats become free; the main thread belongs to the service,
for its model. Answers may come from any thread: whoever finds nobody writing writes all that are
ready. A call that nobody waits for any more is taken from its seat if the service can let go of it;
if it cannot, the server ends this process.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
import traceback
from collections import deque
from typing import Any, Protocol

import msgspec

from penstock.codec.frames import CallFrame, ReplyFrame
from penstock.codec.worker_messages import Cancel, Stop, ToWorker
from penstock.core.errors import InternalError
from penstock.engine.local import output
from penstock.engine.local.begun import BegunPage
from penstock.engine.local.intake import Intake, Outbox
from penstock.engine.local.loader import Overlapping
from penstock.engine.local.seats import Seats

#: Seconds a thread that computes keeps the interpreter from others that have something to do.
_SWITCH_S = 0.0005


class Messages(Protocol):
    """Where control messages come from."""

    def receive(self, kind: Any) -> Any:
        """Return the next message; end the process when the server is gone."""


class Seat:
    """One call inside the worker; see `penstock.engine.local.loader.Seat`."""

    __slots__ = ("_loop", "call", "number")

    def __init__(self, call: CallFrame, number: int, loop: Overlap) -> None:
        self.call = call
        self.number = number
        self._loop = loop

    def at(self, stage: int, part: int) -> None:
        """Say where the call is: stage from 1, `part` an index into `begun.PARTS`."""
        self._loop.seats.write(self.number, self.call.call_id, stage, part)

    def answer(self, reply: ReplyFrame) -> None:
        """Answer the call; only the first answer counts."""
        self._loop.answer(self, reply)

    def leave(self) -> None:
        """Answer a call that nobody waits for any more."""
        self.answer(_unwanted(self.call.call_id))


class Overlap:
    """The calls inside, and their answers."""

    def __init__(self, data: socket.socket, service: Overlapping, page: BegunPage) -> None:
        self._service = service
        self._page = page
        self._intake = Intake(data)
        self._outbox = Outbox(data)
        self._room = threading.Semaphore(service.concurrency)
        self._free = deque(range(service.concurrency))
        self._taken: dict[int, Seat] = {}
        self._cancelled: set[int] = set()
        self._seating = threading.Lock()
        self._answers: deque[tuple[ReplyFrame, Seat]] = deque()
        self._writing = threading.Lock()
        self.seats: Seats = page.seats(service.concurrency)

    # --- calls in ---

    def take_calls(self) -> None:
        """Seat calls as they come, until the server sends no more and all are answered."""
        try:
            while not self._intake.ended:
                self._seat_all(deque(self._intake.wait()))
            for _ in range(self._service.concurrency):
                self._room.acquire()
            self._service.end()
        except BaseException:  # noqa: BLE001 - without this thread the worker is of no use
            traceback.print_exc()
            output.end(70)

    def _seat_all(self, calls: deque[CallFrame]) -> None:
        while calls:
            self._room.acquire()
            self._seat(calls.popleft())

    def _seat(self, call: CallFrame) -> None:
        with self._seating:
            wanted = call.call_id not in self._cancelled and call.deadline_ns > time.monotonic_ns()
            self._cancelled.discard(call.call_id)
            seat = Seat(call, self._free.popleft(), self)
            self._taken[call.call_id] = seat
            seat.at(0, 0)
            self._page.begin(call.call_id)
        if not wanted:
            seat.leave()
            return
        try:
            self._service.begin(seat)
        except Exception:  # noqa: BLE001 - the loop must go on; the log has the traceback
            traceback.print_exc()
            seat.answer(_defect(call.call_id))

    def cancel(self, call_ids: list[int]) -> None:
        """Let go of calls: those inside if the service can, those to come in any case."""
        for call_id in call_ids:
            with self._seating:
                seat = self._taken.get(call_id)
                if call_id > self._page.last_begun:
                    self._cancelled.add(call_id)
            if seat is not None:
                self._service.cancel(seat)

    # --- answers out ---

    def answer(self, seat: Seat, reply: ReplyFrame) -> None:
        """Send the answer of a seated call, unless it was answered before."""
        if self._taken.pop(seat.call.call_id, None) is not None:
            self._send(reply, seat)

    def _send(self, reply: ReplyFrame, seat: Seat) -> None:
        self._answers.append((reply, seat))
        # Looked at again after the lock is let go: what came while it was held is written, too.
        while self._answers and self._writing.acquire(blocking=False):
            try:
                self._write()
            finally:
                self._writing.release()

    def _write(self) -> None:
        leaving = []
        while self._answers:
            reply, seat = self._answers.popleft()
            self._outbox.add(reply)
            leaving.append(seat.number)
        self._outbox.flush()
        for number in leaving:
            self.seats.write(number, 0, 0, 0)
            self._free.append(number)
            self._room.release()


def serve(data: socket.socket, service: Overlapping, page: BegunPage, control: Messages) -> None:
    """Answer calls until told to stop. The calling thread is lent to the service."""
    overlap = Overlap(data, service, page)
    sys.setswitchinterval(_SWITCH_S)
    for name, work in (
        ("penstock-control", lambda: _listen(control, data, overlap)),
        ("penstock-intake", overlap.take_calls),
    ):
        threading.Thread(target=work, name=name, daemon=True).start()
    service.work()


def _listen(control: Messages, data: socket.socket, overlap: Overlap) -> None:
    while True:
        message = control.receive(ToWorker)
        if isinstance(message, Cancel):
            overlap.cancel(message.call_ids)
        elif isinstance(message, Stop):
            data.shutdown(socket.SHUT_RD)


def _unwanted(call_id: int) -> ReplyFrame:
    return ReplyFrame(call_id, b"deadline_exceeded", 0, b"", b"")


def _defect(call_id: int) -> ReplyFrame:
    error = InternalError("The worker's service did not take the call; its log has the details.")
    body = msgspec.json.encode({"error": error.to_dict()})
    return ReplyFrame(call_id, b"internal", 0, b"", body)
