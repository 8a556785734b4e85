"""What every store of calls, logs and figures promises; see `stores.insight_base`."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import time

import pytest

from penstock.core.insight_records import (
    CallRecord,
    LogFilter,
    LogLine,
    RunCursor,
    RunFilter,
    StoredPoint,
    Switch,
    VersionTotal,
)
from penstock.core.monitor_records import Feedback, Prediction, Profile
from penstock.core.names import new_run_id
from penstock.core.run_records import ReplicaId
from penstock.core.states import RunState
from penstock.stores.insight_base import Batch, Limits
from penstock.stores.sqlite_insight import SqliteInsight

ALL = RunFilter("default")


@pytest.fixture
def open_store(tmp_path):
    opened = []

    def reopen():
        while opened:
            opened.pop().close()
        opened.append(SqliteInsight(tmp_path / "insight.sqlite"))
        return opened[0]

    yield reopen
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store()


def call(**changes) -> CallRecord:
    usual = CallRecord(
        run_id=new_run_id(),
        project="default",
        deployment="flow",
        version=1,
        key_id="k1",
        state=RunState.SUCCEEDED,
        created_at=10.0,
        run_time_ms=2.5,
        media_type="application/json",
        size_bytes=5,
        points=1,
        server_timing="queue;dur=0.1",
        input=b"[[1]]",
        result=b"[1]",
    )
    return dataclasses.replace(usual, **changes)


def limits(**changes) -> Limits:
    usual = Limits(0.0, 10**6, 10**6, 10**6, {}, 1 << 40)
    return usual._replace(**changes)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"deployment": "b"},
        {"only": ("b",)},
        {"only": ("a", "c")},
        {"only": ()},
        {"deployment": "b", "only": ("a",)},
        {"states": (RunState.FAILED,)},
        {"states": (RunState.FAILED, RunState.SUCCEEDED), "only": ("b",)},
        {"states": (RunState.CANCELLED,)},
        {"code": "function_failed", "deployment": "a"},
        {"min_ms": 100.0},
        {"min_ms": 100.5, "max_ms": 150.0, "only": ("a", "b")},
        {"min_ms": 120.0, "states": (RunState.FAILED,)},
        {"version": 2, "since": 20.0, "until": 70.0},
    ],
)
def test_pages_of_a_list_have_each_call_that_is_wanted_once_newest_first(store, wanted):
    made = [
        call(
            deployment="abc"[n % 3],
            version=1 + n % 2,
            created_at=float(n // 2),
            run_time_ms=90.0 + n,
            state=RunState.FAILED if n % 7 == 0 else RunState.SUCCEEDED,
            code=("function_failed", "timeout")[n % 2] if n % 7 == 0 else None,
        )
        for n in range(160)
    ]
    store.write(Batch([*made, call(project="other")]))
    asked = RunFilter("default", **wanted)

    def fits(one: CallRecord) -> bool:
        return all(
            (
                asked.deployment in {None, one.deployment},
                asked.only is None or one.deployment in asked.only,
                not asked.states or one.state in asked.states,
                asked.code in {None, one.code},
                asked.version in {None, one.version},
                asked.min_ms is None or one.run_time_ms >= asked.min_ms,
                asked.max_ms is None or one.run_time_ms <= asked.max_ms,
                asked.since is None or one.created_at >= asked.since,
                asked.until is None or one.created_at < asked.until,
            )
        )

    expected = sorted(((c.created_at, c.run_id) for c in made if fits(c)), reverse=True)
    found, place = [], None
    while page := store.calls(asked, 9, place):
        found += [(c.created_at, c.run_id) for c in page]
        place = RunCursor(*found[-1])
    assert found == expected


def failure(cause: str = "KeyError", **changes) -> CallRecord:
    error = f'{{"code": "function_failed", "stage": 1, "function": "pre", "type": "{cause}"}}'
    usual = {"state": RunState.FAILED, "code": "function_failed", "error": error, "version": 2}
    return call(**{**usual, **changes})


def test_failures_of_one_cause_are_counted_by_version_from_a_time_on(store):
    this = failure(created_at=50.0)
    store.write(
        Batch(
            [
                this,
                failure(created_at=40.0),
                failure(created_at=30.0, version=1),
                failure(created_at=5.0),  # before the time that is asked about
                failure("ValueError", created_at=41.0),
                failure(created_at=42.0, deployment="other"),
                failure(created_at=43.0, project="other"),
                call(created_at=44.0, version=2),
                call(created_at=45.0, state=RunState.FAILED, code="timeout", error="{}"),
            ]
        )
    )
    assert [tuple(one) for one in store.alike(this.run_id, 10.0, 99)] == [
        (1, 1, 30.0),
        (2, 2, 40.0),
    ]
    # Of the newest two failures of the deployment one has this cause.
    assert [tuple(one) for one in store.alike(this.run_id, 10.0, 2)] == [(2, 1, 50.0)]
    assert store.alike(new_run_id(), 10.0, 99) == []


def test_a_call_is_there_whole_after_a_reopen(store, open_store):
    wrong = call(state=RunState.FAILED, code="function_failed", error='{"code": "x"}')
    good = call(created_at=11.0, input_cut=True)
    store.write(Batch(calls=[wrong, good]))
    again = open_store()
    assert again.call(wrong.run_id) == wrong
    assert again.call(good.run_id) == good
    assert again.call("nothing") is None
    listed = again.calls(ALL, 9, None)
    assert [c.run_id for c in listed] == [good.run_id, wrong.run_id]
    assert listed[0].input is None


def test_a_file_from_before_replicas_were_told_keeps_its_calls_and_tells_new_ones(
    store, open_store, tmp_path
):
    old, new = call(), call(created_at=11.0, replica=ReplicaId(2, 4711))
    store.write(Batch(calls=[old]))
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "insight.sqlite")) as file:
        for name in ("replica", "replica_pid"):
            file.execute(f"ALTER TABLE calls DROP COLUMN {name}")
        file.execute("PRAGMA user_version=1")
        file.commit()
    store = open_store()
    assert store.call(old.run_id) == old
    store.write(Batch(calls=[new]))
    store = open_store()
    assert store.call(new.run_id) == new
    assert [found.replica for found in store.calls(ALL, 10, None)] == [ReplicaId(2, 4711), None]


def test_calls_are_found_by_all_that_lists_filter_by(store):
    one = call(version=2, run_time_ms=900.0)
    two = call(deployment="other", created_at=12.0)
    three = call(state=RunState.FAILED, code="worker_died", created_at=13.0)
    store.write(Batch(calls=[one, two, three, call(project="elsewhere")]))
    for wanted, found in (
        ({}, [three, two, one]),
        ({"deployment": "other"}, [two]),
        ({"states": (RunState.FAILED,)}, [three]),
        ({"version": 2}, [one]),
        ({"since": 12.0}, [three, two]),
        ({"until": 12.0}, [one]),
        ({"min_ms": 100.0}, [one]),
        ({"max_ms": 100.0}, [three, two]),
        ({"code": "worker_died"}, [three]),
    ):
        got = store.calls(RunFilter("default", **wanted), 9, None)
        assert [c.run_id for c in got] == [c.run_id for c in found], wanted


def test_a_page_of_a_million_calls_is_quick_whatever_it_is_filtered_by(store):
    with store._transaction() as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
            " INSERT INTO calls SELECT i, printf('%036d', i), 'default', 'flow' || (i % 50),"
            " 1 + i % 7, 'k', CASE WHEN i % 1000 THEN 'succeeded' ELSE 'failed' END, i * 0.1,"
            " (i % 100000) * 0.01, 'application/json', 10, 1, 'queue;dur=0.1',"
            " CASE WHEN i % 1000 THEN NULL ELSE 'worker_died' END, 0, 0, 1, 4711, NULL, NULL, NULL"
            " FROM n"
        )
    for wanted in (
        {},
        {"deployment": "flow7"},
        {"states": (RunState.FAILED,)},
        {"deployment": "flow0", "states": (RunState.FAILED,), "version": 3},
        {"min_ms": 999.98},
        {"code": "worker_died"},
        {"deployment": "nothing"},
        {"until": 1000.0},
    ):
        asked = RunFilter("default", **wanted)
        begun = time.thread_time()
        page = store.calls(asked, 50, None)
        if page:
            place = RunCursor(page[-1].created_at, page[-1].run_id)
            assert {c.run_id for c in store.calls(asked, 50, place)}.isdisjoint(
                c.run_id for c in page
            )
        assert time.thread_time() - begun < 1.5, wanted  # far from a list that reads every row


def test_lines_come_in_order_from_either_end(store):
    texts = [LogLine("default", "flow", 1, 1.0, f"line {i}", run_id="r" * 36) for i in range(5)]
    other = LogLine("default", "flow", 2, 2.0, "Other", level="ERROR")
    store.write(Batch(lines=[*texts, other]))
    everything = store.lines(LogFilter("default"), 99)
    assert [line.text for line in everything] == [*(t.text for t in texts), "Other"]
    assert [line.text for line in store.lines(LogFilter("default"), 2)] == ["line 4", "Other"]
    second = everything[1].seq
    assert [x.text for x in store.lines(LogFilter("default"), 1, after=second)] == ["line 2"]
    assert [x.text for x in store.lines(LogFilter("default"), 9, before=second)] == ["line 0"]
    assert [x.text for x in store.lines(LogFilter("default", text="oTHER"), 9)] == ["Other"]
    assert len(store.lines(LogFilter("default", run_id="r" * 36), 99)) == 5
    assert len(store.lines(LogFilter("default", level="ERROR", version=2), 99)) == 1
    assert not store.lines(LogFilter("elsewhere"), 99)


def test_points_replace_those_of_the_same_time_and_totals_add_up(store):
    point = StoredPoint("default", "flow", 1, 60, 120, b"a")
    store.write(Batch(points=[point, point._replace(start=60)]))
    store.write(Batch(points=[point._replace(data=b"b")]))
    assert [p.data for p in store.points(60, 0, "default", "flow")] == [b"a", b"b"]
    assert [p.start for p in store.points(60, 100, None, None)] == [120]
    total = VersionTotal("default", "flow", 1, 10, 2, 5.0, 1.0)
    for at in (1.0, 2.0):
        store.write(Batch(totals=[dataclasses.replace(total, last_at=at)]))
    assert store.totals("default", "flow") == [VersionTotal("default", "flow", 1, 20, 4, 10.0, 2.0)]
    store.write(Batch(switches=[Switch("default", "flow", 2, 9.0)]))
    assert store.switches("default", "flow", 5.0) == [Switch("default", "flow", 2, 9.0)]


def test_what_is_old_or_too_much_is_forgotten_successes_apart_from_failures(store):
    failed = [call(state=RunState.FAILED, code="x", created_at=float(i)) for i in range(6)]
    good = [call(created_at=float(i)) for i in range(6)]
    store.write(Batch(calls=[c for pair in zip(failed, good, strict=True) for c in pair]))
    store.purge(limits(calls_since=1.0, failures=3, successes=2))
    left = {c.run_id for c in store.calls(ALL, 99, None)}
    assert left == {c.run_id for c in [*failed[3:], *good[4:]]}


def test_the_file_stays_under_its_limit(store):
    for _ in range(8):
        store.write(Batch(calls=[call(input=bytes(200_000)) for _ in range(10)]))
    newest = call(created_at=99.0)
    store.write(Batch(calls=[newest]))
    store.purge(limits(file_bytes=4_000_000))
    assert store._bytes() <= 4_000_000
    assert store.call(newest.run_id) == newest


def test_a_deployment_that_is_deleted_leaves_nothing(store):
    kept = call(deployment="other")
    store.write(
        Batch(
            [call(), kept],
            [LogLine("default", "flow", 1, 1.0, "x")],
            [StoredPoint("default", "flow", 1, 60, 0, b"a")],
            [VersionTotal("default", "flow", 1, 1, 1, 1.0, 1.0)],
        )
    )
    store.monitor.put("default", "flow", b"m")
    assert store.forget("default", "flow") is False
    assert [c.run_id for c in store.calls(ALL, 9, None)] == [kept.run_id]
    assert not store.lines(LogFilter("default"), 9)
    assert not store.totals("default", "flow")
    assert not store.monitor.all()


def test_a_long_history_is_forgotten_in_parts(store):
    store.write(Batch([call(input=b"") for _ in range(10_500)]))
    store.write(Batch([call(deployment="other")]))
    assert store.forget("default", "flow") is True
    assert len(store.calls(ALL, 20_000, None)) == 501
    assert store.forget("default", "flow") is False
    assert [c.deployment for c in store.calls(ALL, 9, None)] == ["other"]


def test_truths_are_joined_to_predictions_and_replaced_when_told_again(store):
    made = [Prediction(f"r-{i}", "default", "flow", 1, 3600.0 + i, "1") for i in range(3)]
    store.monitor.add([Profile("default", "flow", 600, b"p")], made)
    assert store.monitor.predictions(["r-1", "r-9"]) == {"r-1": made[1]}
    store.monitor.give([Feedback(p, 9.0, "1", True, None) for p in made])
    store.monitor.give([Feedback(made[0], 10.0, "2", False, None)])
    (quality,) = store.monitor.quality("default", "flow", 0.0, 3600)
    assert (quality.start, quality.truths, quality.correct) == (3600, 3, 2)
    assert store.monitor.truths("r") == {
        "r-0": ("2", False),
        "r-1": ("1", True),
        "r-2": ("1", True),
    }
    assert store.monitor.profiles("default", "flow", 0) == [Profile("default", "flow", 600, b"p")]
    store.monitor.purge(1, 1e9)
    assert store.monitor.predictions(["r-0", "r-2"]) == {"r-2": made[2]}
    assert not store.monitor.quality("default", "flow", 0.0, 3600)
