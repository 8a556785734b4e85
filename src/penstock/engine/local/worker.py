"""The worker: loads one version and answers its calls until told to stop.

`wiring.worker_process` calls `run` in the child, with the `Loader` that knows of flows; this module
knows nothing of them. A worker forked from a template finds the version loaded. The main thread
owns the service. A second thread only reads control messages. `Conversation.ask` leads to the
memory store.
"""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from penstock.codec.frames import CallFrame, ReplyFrame, split_frames
from penstock.codec.light import MOST_BYTES
from penstock.codec.worker_messages import (
    MESSAGE_LIMIT,
    Cancel,
    Failed,
    Load,
    Notice,
    Ready,
    Stop,
    ToWorker,
    pack_message,
    unpack_message,
)
from penstock.core.errors import InternalError
from penstock.engine.local import forking, lifeline, output, overlap
from penstock.engine.local.begun import BegunPage
from penstock.engine.local.conversation import Conversation
from penstock.engine.local.intake import Intake, Outbox
from penstock.engine.local.loader import Loader, Overlapping, Service, Tools
from penstock.engine.local.pace import Pace
from penstock.engine.local.pipes import ChildEnds
from penstock.engine.sandbox import confine

#: A reply waits for those of later rounds at most this long, in nanoseconds.
_UNSENT_NS = 100_000


class _Messages:
    """The control socket: length-prefixed messages."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(True)
        self._buffer = bytearray()
        self._frames: list[memoryview] = []

    def receive(self, kind: Any) -> Any:
        """Return the next message; end the process when the server is gone."""
        while not self._frames:
            data = self._sock.recv(65536)
            if not data:
                os._exit(0)
            self._buffer += data
            self._frames = split_frames(self._buffer, MESSAGE_LIMIT)
        return unpack_message(self._frames.pop(0), kind)

    def send(self, message: msgspec.Struct) -> None:
        self._sock.sendall(pack_message(message))


class _Control:
    """The second thread: keeps the set of cancelled calls, and ends the intake on `Stop`."""

    def __init__(self, messages: _Messages, data: socket.socket) -> None:
        self._messages = messages
        self._data = data
        self.cancelled: set[int] = set()

    def start(self) -> None:
        threading.Thread(target=self._listen, name="penstock-control", daemon=True).start()

    def _listen(self) -> None:
        while True:
            message = self._messages.receive(ToWorker)
            if isinstance(message, Cancel):
                self.cancelled.update(message.call_ids)
            elif isinstance(message, Stop):
                self._data.shutdown(socket.SHUT_RD)


def run(ends: ChildEnds, loader: Loader, prepared: Any = None) -> NoReturn:
    """Be a worker: load what the server says, answer calls, then end the process.

    Args:
        ends: Our ends of the sockets.
        loader: Loads and serves the version.
        prepared: What the loader prepared in the process we were forked from, if it did.
    """
    try:
        lifeline.name_process("penstock-worker")
        output.redirect(ends.log)
        _work(ends, loader, prepared)
    except BaseException:  # noqa: BLE001 - nothing above us may go on with this process
        traceback.print_exc()
        output.end(70)
    output.end(0)


def _work(ends: ChildEnds, loader: Loader, prepared: Any) -> None:
    control = _Messages(ends.control)
    page = BegunPage(ends.page)
    os.close(ends.page)
    ask = Conversation(ends.memory).ask
    tools = Tools(ask, page.at, lambda facts: control.send(_notice(facts)))
    service = _load(control, loader, tools, prepared)
    data = socket.socket(fileno=ends.data)
    data.setblocking(True)
    if isinstance(service, Overlapping):
        overlap.serve(data, service, page, control)
        return
    thread = _Control(control, data)
    thread.start()
    _serve(data, service, page, thread.cancelled)


def _load(control: _Messages, loader: Loader, tools: Tools, prepared: Any) -> Service | Overlapping:
    message = control.receive(Load)
    begun = time.perf_counter()
    try:
        _stay_within(message, forked=prepared is not None)
        loaded = loader.prepare(message) if prepared is None else prepared
        service = loader.serve(loaded, message, tools)
        facts = service.facts()
    except BaseException as error:  # noqa: BLE001 - sys.exit in user code is a failed load too
        control.send(Failed(output.told(output.as_load_error(error), MOST_BYTES)))
        output.end(1)
    forking.settle()
    gc.set_threshold(10_000, 20, 20)
    facts = {**facts, "sandbox": confine.reached()}
    control.send(Ready((time.perf_counter() - begun) * 1e3, msgspec.json.encode(facts)))
    return service


def _notice(facts: dict[str, Any]) -> Notice:
    return Notice(msgspec.json.encode(facts))


def _stay_within(message: Load, *, forked: bool) -> None:
    """Confine this process, which nothing of the user's has run in; a template did half of it."""
    sandbox = message.sandbox
    if sandbox is None:
        return
    if forked:
        confine.narrow(sandbox, message.scratch)
    else:
        confine.confine(sandbox, message.scratch, list(message.blobs.values()))


def _serve(data: socket.socket, service: Service, page: BegunPage, cancelled: set[int]) -> None:
    intake, outbox, pace = Intake(data), Outbox(data), Pace()
    while calls := intake.wait():
        unsent_ns = 0
        while calls:
            size = pace.size(service, len(calls))
            now, calls = calls[:size], calls[size:]
            page.begin(now[-1].call_id)
            took_ns = _answer(service, now, cancelled, outbox)
            pace.learn(len(now), took_ns)
            unsent_ns += took_ns
            if unsent_ns > _UNSENT_NS or not calls:
                outbox.flush()
                unsent_ns = 0
            if calls and len(calls) < size:
                intake.poll(calls)


def _answer(service: Service, calls: list[CallFrame], cancelled: set[int], outbox: Outbox) -> int:
    """Answer calls, all but those nobody waits for; return the nanoseconds it took."""
    begun = time.monotonic_ns()
    wanted = [c for c in calls if c.deadline_ns > begun and c.call_id not in cancelled]
    if len(wanted) < len(calls):
        for call_id in {c.call_id for c in calls} - {c.call_id for c in wanted}:
            outbox.add(ReplyFrame(call_id, b"deadline_exceeded", 0, b"", b""))
    if cancelled:
        _forget(cancelled, calls[-1].call_id)
    if wanted:
        for reply in _replies(service, wanted):
            outbox.add(reply)
    return time.monotonic_ns() - begun


def _forget(cancelled: set[int], last: int) -> None:
    for call_id in [c for c in tuple(cancelled) if c <= last]:
        cancelled.discard(call_id)


def _replies(service: Service, calls: list[CallFrame]) -> Sequence[ReplyFrame]:
    """Return one reply per call, whatever the service does: its own catch is the first line."""
    try:
        replies = service.answer(calls)
    except Exception:  # noqa: BLE001 - the loop must go on; the log has the traceback
        traceback.print_exc()
        replies = ()
    if len(replies) == len(calls):
        return replies
    error = InternalError("The worker's service did not answer; its log has the details.")
    body = msgspec.json.encode({"error": error.to_dict()})
    answered = {reply.call_id for reply in replies}
    missing = [c.call_id for c in calls if c.call_id not in answered]
    return [*replies, *(ReplyFrame(i, b"internal", 0, b"", body) for i in missing)]
