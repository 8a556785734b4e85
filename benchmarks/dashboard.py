"""How long the dashboard's large pages take: 200 deployments with figures, a million kept runs.

    python benchmarks/dashboard.py [--runs 1000000] [--deployments 200]

The stores are real and the pages are rendered in full; only the workers are missing. Prints the
median and the worst of twenty requests and the processor time of the median one, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from penstock.codec.bundle import (
    Blob,
    FunctionEntry,
    Interpreter,
    Manifest,
    StageEntry,
    write_manifest,
)
from penstock.control.insight.histogram import buckets_of
from penstock.control.insight.points import PartSum, Point
from penstock.control.insight.ring import Ring
from penstock.core.insight_records import CallRecord
from penstock.core.names import new_run_id
from penstock.core.records import Scope, VersionSettings
from penstock.core.run_records import NewRun, Payload
from penstock.core.states import RunState, VersionState
from penstock.engine.base import VersionKey
from penstock.server.settings import Settings
from penstock.stores.insight_base import Batch
from penstock.wiring.assembly import build_house, open_database
from penstock.wiring.data_folder import DataFolder
from penstock.wiring.house import House

TIMES = 20
BATCH = 10_000
LIMIT_MS = 300.0

#: Seconds between two calls that are kept.
APART_S = 0.05


async def main(runs: int, deployments: int, folder: Path) -> bool:
    """Fill a data folder, measure, print; return whether every page stayed under the limit."""
    settings = Settings(data_dir=folder)
    with DataFolder(folder) as data:
        database = await open_database(settings, data)
        house = await build_house(settings, data, database, "http://here")
        try:
            await house.parts.keys.bootstrap()
            await database.call(_deploy, database, deployments)
            _figures(house, deployments)
            print(f"{deployments} deployments; writing {runs} runs ...", flush=True)
            await _keep_runs(house, runs, deployments)
            return await _measure(house, runs)
        finally:
            await house.close(0.0)


def _deploy(database: Any, count: int) -> None:
    """Add deployments of three versions each, of which the last one serves."""
    records, now = database.records, time.time()
    blob = Blob("model.joblib", hashlib.sha256(b"model").hexdigest(), 5)
    entry = FunctionEntry("prepare", 1, blob)
    stages = [
        StageEntry("sklearn", blob, pre=entry),
        StageEntry("xgboost_classifier", blob, post=entry),
    ]
    manifest = write_manifest(Manifest(Interpreter.current(), stages))
    for number in range(count):
        name = f"deployment-{number:03d}"
        for _ in range(3):
            made = records.add_version(
                project="default",
                deployment=name,
                manifest=manifest,
                settings=VersionSettings(),
                size_bytes=5,
                created_at=now,
                created_by="bench",
            )
            records.set_version_state("default", name, made.number, VersionState.READY, at=now)
        records.activate("default", name, 3, now)


def _figures(house: House, count: int) -> None:
    """Put twenty minutes of figures of every deployment into memory, as if it had been called."""
    rng, now = random.Random(1), int(time.time())
    names = ("queue", "s1-pre", "s1-model", "s2-model", "s2-post")
    points = []
    for start in range(now - 1200, now, 5):
        times = [int(rng.lognormvariate(15, 0.6)) for _ in range(40)]
        point = Point(parts={name: PartSum(40.0, 30.0) for name in names})
        point.add_times(len(times), sum(times), buckets_of(times))
        points.append((start, point))
    for number in range(count):
        ring = Ring()
        for start, point in points:
            ring.add(point, start)
        house.insight.recorder.rings[VersionKey("default", f"deployment-{number:03d}", 3)] = ring


async def _keep_runs(house: House, count: int, deployments: int) -> None:
    """Keep synchronous calls, and a tenth as many asynchronous runs."""
    rng, now = random.Random(2), time.time()
    thread, store = house.insight.thread, house.database.records.runs

    def name() -> str:
        return f"deployment-{rng.randrange(deployments):03d}"

    for first in range(0, count, BATCH):
        calls = [
            CallRecord(
                new_run_id(),
                "default",
                name(),
                2 if at % 5000 == 0 else 3,
                "bench",
                RunState.FAILED if (failed := rng.random() < 0.02) else RunState.SUCCEEDED,
                now - (count - at) * APART_S,
                rng.lognormvariate(2, 0.8),
                "application/json",
                120,
                2,
                "queue;dur=0.1, s1-model;dur=1.2",
                "function_failed" if failed else None,
            )
            for at in range(first, min(first + BATCH, count))
        ]
        await thread.call(thread.store.write, Batch(calls=calls))
    for first in range(0, count // 10, BATCH):
        new = [
            NewRun(
                new_run_id(),
                "default",
                name(),
                "bench",
                now - rng.random() * 86400,
                "application/json",
                Payload(b"[1]", None, 3),
            )
            for _ in range(min(BATCH, count // 10 - first))
        ]
        await house.database.call(store.add, new)


async def _measure(house: House, runs: int) -> bool:
    issued = await house.parts.keys.issue(Scope.DEPLOY, "default", "bench")
    transport = httpx2.ASGITransport(app=house.app)
    good = True
    print(f"{'page':28}{'median':>8}{'worst':>8}{'cpu':>8}   ms")
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
        await client.post("/sign-in", data={"key": issued.text})
        headers = {"Authorization": issued.text}
        listed = await client.get("/v1/default/runs?limit=1000", headers=headers)
        middle = listed.json()["next"]
        early = f"{time.time() - runs * APART_S * 0.95!r}_"
        one = "/p/default/d/deployment-007/runs"
        for name, path in (
            ("overview", "/p/default"),
            ("overview, what is renewed", "/p/default"),
            ("overview, last 24 h", "/p/default?range=24h"),
            ("runs", "/p/default/runs"),
            ("runs, failed", "/p/default/runs?state=failed"),
            ("runs, cancelled (none)", "/p/default/runs?state=cancelled"),
            ("runs, of one deployment", one),
            ("  failed", f"{one}?state=failed"),
            ("  of version 3", f"{one}?version=3"),
            ("  of version 2 (few)", f"{one}?version=2"),
            ("  of version 1 (none)", f"{one}?version=1"),
            ("runs, last 15 min", "/p/default/runs?time=15m"),
            ("runs, last 24 h, failed", "/p/default/runs?time=24h&state=failed"),
            ("runs, over 100 ms", "/p/default/runs?over=100"),
            ("runs, over 10 s (none)", "/p/default/runs?over=10000"),
            ("runs, of an error", "/p/default/runs?code=function_failed"),
            ("runs, page 21", f"/p/default/runs?before={middle}"),
            ("runs, near the end", f"/p/default/runs?before={early}"),
            ("runs, near the end, slow", f"/p/default/runs?before={early}&over=100"),
            ("deployment", "/p/default/d/deployment-007"),
        ):
            renews = {"HX-Request": "true", "HX-Target": "div#live-block"}
            headers = renews if "renewed" in name else {}
            took, busy = [], []
            for _ in range(TIMES):
                began, used = time.perf_counter(), time.process_time()
                answer = await client.get(path, headers=headers)
                took.append((time.perf_counter() - began) * 1e3)
                busy.append((time.process_time() - used) * 1e3)
                assert answer.status_code == 200, answer.text[:300]
            median, worst = statistics.median(took), max(took)
            good &= median < LIMIT_MS
            size = len(answer.content) // 1024
            cpu = statistics.median(busy)
            print(f"{name:28}{median:8.1f}{worst:8.1f}{cpu:8.1f}{size:8} KiB", flush=True)
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--deployments", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as made_here:
        kept = asyncio.run(main(asked.runs, asked.deployments, Path(made_here)))
    raise SystemExit(0 if kept else 1)
