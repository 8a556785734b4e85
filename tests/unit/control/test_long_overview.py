"""The overview of an hour, a day or a week, from stored points."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock.control.insight.histogram import buckets_of
from penstock.control.insight.long_overview import FRESH_S, LongOverview
from penstock.control.insight.points import PartSum, Point, pack_point
from penstock.control.insight.store_thread import InsightThread
from penstock.core.errors import InvalidSetting
from penstock.core.insight_records import StoredPoint
from penstock.stores.insight_base import Batch
from penstock.stores.sqlite_insight import SqliteInsight

NOW = 1_800_000_000.0


def point(deployment: str, version: int, start: float, calls: int, failed: int = 0) -> StoredPoint:
    made = Point(
        errors={"function_failed": failed} if failed else {}, parts={"s1-model": PartSum(calls, 9)}
    )
    made.add_times(calls, calls * 10_000_000, buckets_of([10_000_000] * calls))
    packed = pack_point(made)
    return StoredPoint("default", deployment, version, 600, int(start) // 600 * 600, packed)


def test_a_day_is_added_up_by_deployment_over_its_versions_and_served_again(tmp_path: Path):
    async def story() -> None:
        thread = await InsightThread.open(lambda: SqliteInsight(tmp_path / "insight.sqlite"))
        clock = [NOW]
        long = LongOverview(thread, lambda: clock[0])
        points = [
            point("busy", 1, NOW - 20 * 3600, 100, 5),
            point("busy", 2, NOW - 3600, 300),
            point("busy", 2, NOW - 30 * 3600, 9999),
            point("other", 1, NOW - 600, 50),
        ]
        try:
            await thread.call(thread.store.write, Batch(points=points))
            found = await long.of("default", "24h", None, 3)
            assert [row.deployment for row in found.deployments] == ["busy", "other"]
            busy = found.deployments[0]
            assert (busy.now.calls, busy.now.errors) == (400, 5)
            assert busy.now.p50_ms == pytest.approx(10.0, rel=0.05)
            assert sum(busy.calls) * found.step_s == pytest.approx(400)
            assert len(busy.calls) == len(found.start) == 47  # of the last one nothing is known
            assert (found.total.calls, found.in_hand) == (450, 3)
            assert found.kinds == {"model": pytest.approx(1.0)}
            mine = await long.of("default", "24h", {"other"}, 0)
            assert (len(mine.deployments), mine.total.calls) == (1, 50)
            await thread.call(thread.store.write, Batch(points=[point("new", 1, NOW - 1200, 7)]))
            assert (await long.of("default", "24h", None, 0)).total.calls == 450
            clock[0] += FRESH_S
            assert (await long.of("default", "24h", None, 0)).total.calls == 457
            await thread.call(thread.store.write, Batch(points=[point("new", 1, NOW, 360)]))
            clock[0] = NOW + 7 * 60
            begun = await long.of("default", "24h", None, 0)
            assert len(begun.start) == 48
            assert next(r for r in begun.deployments if r.deployment == "new").calls[-1] == (
                pytest.approx(360 / 420)  # a step that has begun is not drawn as a fall
            )
            with pytest.raises(InvalidSetting, match="1h, 24h, 7d"):
                await long.of("default", "2h", None, 0)
        finally:
            await thread.close()

    asyncio.run(story())
