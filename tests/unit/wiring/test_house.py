"""What goes on beside serving, whatever fails in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.core.errors import StoreError
from penstock.wiring.house import House


class Step:
    """One thing that is tidied up; fails if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.done = asyncio.Event()

    async def run(self, *_: Any) -> None:
        if self.error is not None:
            raise self.error
        self.done.set()


@pytest.mark.parametrize("error", [StoreError("A manifest is damaged."), OSError("It is gone.")])
def test_what_cannot_be_tidied_up_does_not_keep_the_rest_from_it(
    tmp_path: Path, error: Exception
) -> None:
    async def story() -> None:
        memory, runs, blobs, uploads, audit = Step(), Step(), Step(error), Step(), Step()
        parts = SimpleNamespace(
            runs=SimpleNamespace(purge=runs.run),
            blobs=SimpleNamespace(collect=blobs.run),
            uploads=SimpleNamespace(purge=uploads.run),
            audit=SimpleNamespace(purge=audit.run),
            settings=SimpleNamespace(prediction_log_days=30),
        )
        database = SimpleNamespace(
            call_memory=memory.run, memory=SimpleNamespace(purge=lambda _now: 0)
        )
        house = SimpleNamespace(parts=parts, database=database, predictions_folder=tmp_path)
        tidying = asyncio.create_task(House.keep_tidy(cast("House", house)))
        for step in (memory, runs, uploads, audit):
            await asyncio.wait_for(step.done.wait(), 10)
        assert not tidying.done()
        tidying.cancel()

    asyncio.run(story())


def test_a_server_whose_database_fails_at_the_end_still_closes_everything() -> None:
    async def story() -> None:
        closed: list[str] = []

        def part(name: str) -> Any:
            async def close(*_: Any) -> None:
                closed.append(name)

            return SimpleNamespace(close=close)

        async def note_uses() -> int:
            raise StoreError("The database is gone.")

        inner = ("deployments", "deploys", "runs")
        outer = ("environments", "pools", "engine", "webhooks", "predictions", "insight")
        parts = SimpleNamespace(
            **{name: part(name) for name in inner}, keys=SimpleNamespace(note_uses=note_uses)
        )
        last = part("database")
        house = SimpleNamespace(parts=parts, database=last, **{n: part(n) for n in outer})
        await House.close(cast("House", house), 1.0)
        assert closed[-1] == "database"
        assert set(closed) == {*inner, *outer, "database"}

    asyncio.run(story())
