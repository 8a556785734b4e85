"""What is handed to the process that writes predictions, and when there is one."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from penstock.control.prediction_log import PredictionLog


def test_a_server_without_loggers_starts_no_writer_at_its_end() -> None:
    def start() -> NoReturn:
        raise AssertionError("a writer is started that nothing is written by")

    asyncio.run(PredictionLog(start).close())
