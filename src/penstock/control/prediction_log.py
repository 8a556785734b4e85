"""Collects the answered calls of versions that log their predictions, and hands them on.

A call costs the event loop two references and a clock; nothing is parsed here. Ten times a second
what has gathered goes to a process of its own, which parses and writes (`wiring/logger_process`).
What it cannot take in time is dropped and counted: a log never slows or fails a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from penstock.codec.frames import MEDIA_JSON
from penstock.codec.prediction_messages import Answered, Batch, LoggedVersion, pack_batch
from penstock.control.tally import Tally
from penstock.core.errors import PenstockError
from penstock.core.records import VersionRecord
from penstock.engine.base import Answer, Call, VersionKey

log = logging.getLogger("penstock.predictions")

#: Seconds between two hand-overs, and the bytes that may wait for one.
PAUSE_S = 0.1
MOST_BYTES = 64 * 1024 * 1024

#: Seconds before a writing process that ended is replaced.
RESTART_S = 5.0

#: A call is counted by this much more than its bodies' bytes.
_CALL_BYTES = 400


class Writer(Protocol):
    """The process that writes."""

    @property
    def is_there(self) -> bool:
        """Whether it can take anything."""

    def waiting(self) -> int:
        """Return the bytes it has been sent and has not read yet."""

    def send(self, packed: bytes) -> None:
        """Send it bytes."""

    async def close(self) -> None:
        """Let it write what it has and end."""


class PredictionLog:
    """The answered calls that are to be logged. Every method runs on the event loop.

    Args:
        start_writer: Starts the process that writes.
        environ: Where the loggers' references are looked up.

    Attributes:
        dropped: Calls that were not logged because too much waited.
    """

    def __init__(
        self, start_writer: Callable[[], Writer], environ: Mapping[str, str] | None = None
    ) -> None:
        self._start_writer = start_writer
        self._environ = os.environ if environ is None else environ
        self._versions: dict[VersionKey, LoggedVersion] = {}
        self._gathered: list[tuple[VersionKey, Answered]] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writer: Writer | None = None
        self._started_at = 0.0
        self._told_dropped = 0
        self.dropped = 0

    def note(self, record: VersionRecord) -> None:
        """Learn where a version's predictions go, before it is called."""
        if not record.settings.loggers:
            return
        key = VersionKey(record.project, record.deployment, record.number)
        try:
            specs = [spec.resolved(self._environ) for spec in record.settings.loggers]
        except PenstockError as error:
            log.warning("Predictions of %s are not logged: %s", key, error)
            return
        for spec in record.settings.loggers:
            if spec.written_out:
                log.warning(
                    "Version %s keeps the %s of its logger %r readable in the records, as earlier "
                    "releases did. It goes on logging; deploy it again with references.",
                    key, " and ".join(spec.written_out), spec.platform,
                )  # fmt: skip
        self._versions[key] = LoggedVersion(key.project, key.deployment, key.number, specs)
        if self._writer is None:
            self._start()

    def listen(self, key: VersionKey, tally: Tally) -> None:
        """Be told of a version's answers, if they are to be logged."""
        if key in self._versions:
            tally.on_answer = lambda call, answer: self._take(key, call, answer)

    def _take(self, key: VersionKey, call: Call, answer: Answer) -> None:
        if answer.media != MEDIA_JSON:
            return
        sent, size = call.body.data, len(answer.body) + _CALL_BYTES
        if sent is not None:
            size += len(sent)
        if self._bytes + size > MOST_BYTES:
            self.dropped += 1
            return
        arrived_at = time.time() - (time.monotonic_ns() - call.arrived_ns) / 1e9
        taken = Answered(0, arrived_at, call.media_type, sent, bytes(answer.body))
        self._gathered.append((key, taken))
        self._bytes += size
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._hand_over)

    def _hand_over(self) -> None:
        self._timer = None
        writer = self._writer
        if writer is None or not writer.is_there:
            self._drop("the process that writes them has ended")
            if time.monotonic() - self._started_at > RESTART_S:
                self._start()
            return
        if writer.waiting() > MOST_BYTES:
            self._drop("they come faster than they can be written")
            return
        gathered, self._gathered, self._bytes = self._gathered, [], 0
        if gathered:
            writer.send(pack_batch(self._batch(gathered)))

    def _batch(self, gathered: list[tuple[VersionKey, Answered]]) -> Batch:
        numbers: dict[VersionKey, int] = {}
        answers = []
        for key, taken in gathered:
            number = numbers.setdefault(key, len(numbers))
            answers.append(
                taken
                if number == 0
                else Answered(number, taken.arrived_at, taken.media_type, taken.body, taken.answer)
            )
        return Batch([self._versions[key] for key in numbers], answers)

    def _drop(self, why: str) -> None:
        self.dropped += len(self._gathered)
        self._gathered, self._bytes = [], 0
        if self.dropped > self._told_dropped:
            log.warning("%d calls in all were not logged: %s.", self.dropped, why)
            self._told_dropped = self.dropped

    def _start(self) -> None:
        self._started_at = time.monotonic()
        try:
            self._writer = self._start_writer()
        except PenstockError as error:
            log.warning("Predictions cannot be logged: %s", error)

    async def close(self) -> None:
        """Hand over what there is and let the process write it."""
        if self._timer is not None:
            self._timer.cancel()
        if self._gathered:
            self._hand_over()
        if self._writer is not None:
            await self._writer.close()
