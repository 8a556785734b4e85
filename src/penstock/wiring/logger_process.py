"""The process that writes predictions: `python -m penstock.wiring.logger_process <fd> <folder>`.

It reads answered calls from the server (`penstock.control.prediction_log`), makes rows of them and
gives them to the loggers of their versions. It has a low priority and ends when the server closes
the socket, or is gone, after it has written what it has. Started by `prediction_writer`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from penstock.codec.prediction_messages import Batch, read_batch
from penstock.control.prediction_rows import rows_of
from penstock.core.loggers import LoggerSpec, LoggingPlatform
from penstock.engine.local import lifeline
from penstock.stores.loggers import make_logger
from penstock.wiring import pickle_guard
from penstock.wiring.log_format import log_to_standard_error
from penstock.wiring.logger_lane import Lane

log = logging.getLogger("penstock.predictions")

#: How much nicer than the server it is to others.
_NICE = 10


class Lanes:
    """The loggers in use, each with a thread of its own.

    Args:
        folder: Folder of the prediction log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lanes: dict[str, Lane | None] = {}

    def take(self, batch: Batch) -> None:
        """Give the rows of answered calls to the loggers of their versions."""
        for answered in batch.answers:
            version = batch.versions[answered.version]
            for spec in version.loggers:
                lane = self._lane(spec, f"{version.project}/{version.deployment}/{version.number}")
                if lane is None:
                    continue
                try:
                    lane.put(rows_of(answered, version, spec))
                except (msgspec.MsgspecError, ValueError, TypeError) as error:
                    log.debug("A call of %s cannot be logged: %s", version.deployment, error)

    def _lane(self, spec: LoggerSpec, version: str) -> Lane | None:
        """Return the lane of a logger; the local log has one for all versions."""
        local = spec.platform == LoggingPlatform.PARQUET.value
        key = spec.platform if local else json.dumps([version, msgspec.to_builtins(spec)])
        if key not in self._lanes:
            self._lanes[key] = self._open(spec)
        return self._lanes[key]

    def _open(self, spec: LoggerSpec) -> Lane | None:
        try:
            return Lane(spec.platform, make_logger(spec, self._folder))
        except Exception:
            log.exception("The logger %r cannot be used; nothing is sent to it.", spec.platform)
            return None

    def close(self) -> None:
        """Write everything that is left."""
        lanes = [lane for lane in self._lanes.values() if lane is not None]
        for lane in lanes:
            lane.end()
        for lane in lanes:
            lane.join()


def work(stream: socket.socket, folder: Path) -> None:
    """Write what comes until the server closes its end."""
    lanes = Lanes(folder)
    with stream, cast("BinaryIO", stream.makefile("rb", buffering=1 << 20)) as file:
        while (batch := read_batch(file)) is not None:
            lanes.take(batch)
    lanes.close()


def main() -> None:
    """Be the process that writes predictions."""
    fd, folder = int(sys.argv[1]), Path(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM):  # the end of the socket says when to end
        signal.signal(number, signal.SIG_IGN)
    lifeline.name_process("penstock-logger")
    os.nice(_NICE)
    pickle_guard.install()
    log_to_standard_error("warning", "text")
    work(socket.socket(fileno=fd), folder)


if __name__ == "__main__":
    main()
