"""What every run store promises; see `stores.runs_base.RunStore`."""

from __future__ import annotations

import dataclasses

import pytest

from penstock.core.insight_records import RunCursor, RunFilter
from penstock.core.names import new_run_id
from penstock.core.run_records import NewRun, Outcome, Payload, ReplicaId
from penstock.core.states import RunState

NAME = ("default", "flow")
ERROR = b'{"code": "worker_died", "message": "gone"}'


def new_run(**changes) -> NewRun:
    usual = NewRun(
        run_id=new_run_id(),
        project="default",
        deployment="flow",
        key_id="k1",
        created_at=10.0,
        media_type="application/json",
        input=Payload(b"[[1]]", None, 5),
    )
    return dataclasses.replace(usual, **changes)


@pytest.fixture
def runs(records):
    return records.runs


def add(runs, **changes) -> str:
    return runs.add([new_run(**changes)])[0].run_id


def claim_one(runs, now: float = 20.0, owner: str = "me", lease_s: float = 30.0):
    (run,) = runs.claim(owner, {NAME: 1}, now, lease_s).runs
    return run


def succeeded(run, body: bytes = b"[1]") -> Outcome:
    result = Payload(body, None, len(body))
    return Outcome(
        run.run_id, run.attempt, RunState.SUCCEEDED, 30.0, 3, 1.5, 1, "queue;dur=1", result
    )


def deliveries(records) -> list:
    with records.transaction() as connection:
        query = "SELECT run_id, url, state, attempt, next_attempt_at, id FROM webhook_deliveries"
        return connection.exec_driver_sql(query).all()


def test_an_added_run_is_queued_and_still_there_after_a_reopen(open_records, records):
    new = new_run(priority=4, timeout_s=9.0, webhook_url="https://a.example/x")
    (added,) = records.runs.add([new])
    found = open_records().runs.get(new.run_id)
    assert dataclasses.replace(found, input=None) == dataclasses.replace(added, input=None)
    assert found.input == new.input
    assert (found.state, found.attempt, found.priority) == (RunState.QUEUED, 0, 4)
    assert (found.timeout_s, found.webhook_url) == (9.0, "https://a.example/x")
    assert (found.finished_at, found.result, found.error, found.version) == (None,) * 4


def test_an_unknown_run_is_none(runs):
    assert runs.get(new_run_id()) is None
    assert runs.cancel(new_run_id(), 1.0) is None


def test_the_same_idempotency_key_gives_the_first_run_also_in_one_batch(runs):
    first, second = new_run(idempotency_key="a"), new_run(idempotency_key="a")
    elsewhere = new_run(idempotency_key="a", deployment="another")
    found = runs.add([first, second, elsewhere])
    assert [r.run_id for r in found] == [first.run_id, first.run_id, elsewhere.run_id]
    assert runs.open_runs() == 2


def test_runs_are_claimed_by_priority_then_age_and_once(runs):
    old, urgent, late = add(runs), add(runs, priority=5), add(runs, priority=-1)
    claims = runs.claim("me", {NAME: 2}, 20.0, 30.0)
    assert [r.run_id for r in claims.runs] == [urgent, old]
    assert claims.later == {}
    taken = claims.runs[0]
    assert (taken.state, taken.attempt, taken.owner) == (RunState.RUNNING, 1, "me")
    assert (taken.started_at, taken.lease_until) == (20.0, 50.0)
    assert taken.input.inline == b"[[1]]"
    claims = runs.claim("me", {NAME: 2}, 20.0, 30.0)
    assert [r.run_id for r in claims.runs] == [late]
    assert claims.later == {NAME: None}


def test_each_deployment_has_its_own_room(runs):
    for name in ("flow", "flow", "another", "another"):
        add(runs, deployment=name)
    room = {NAME: 1, ("default", "another"): 2}
    claimed = [r.deployment for r in runs.claim("me", room, 20.0, 30.0).runs]
    assert sorted(claimed) == ["another", "another", "flow"]
    assert runs.waiting() == [NAME]


def test_a_retry_is_not_claimed_before_it_is_due(runs):
    add(runs)
    run = claim_one(runs)
    again = Outcome(run.run_id, 1, RunState.QUEUED, 21.0, due_at=25.0, worker_deaths=1)
    assert list(runs.finish([again])) == [True]
    claims = runs.claim("me", {NAME: 1}, 22.0, 30.0)
    assert (claims.runs, claims.later) == ([], {NAME: 25.0})
    second = claim_one(runs, now=25.0)
    assert (second.attempt, second.worker_deaths) == (2, 1)


def test_a_retry_planned_by_a_clock_that_was_set_back_is_due(runs):
    add(runs)
    run = claim_one(runs, now=100_000.0)
    runs.finish([Outcome(run.run_id, 1, RunState.QUEUED, 100_000.0, due_at=100_001.0)])
    assert claim_one(runs, now=50.0).attempt == 2


def test_the_end_of_an_attempt_is_believed_once(runs):
    add(runs)
    run = claim_one(runs)
    assert list(runs.finish([succeeded(run), succeeded(run, b"[2]")])) == [True, False]
    found = runs.get(run.run_id)
    assert (found.state, found.finished_at, found.version) == (RunState.SUCCEEDED, 30.0, 3)
    assert found.result == Payload(b"[1]", None, 3)
    assert (found.run_time_ms, found.points, found.server_timing) == (1.5, 1, "queue;dur=1")
    assert runs.open_runs() == 0


def test_the_replica_that_ended_the_last_attempt_is_kept(open_records, records):
    again, ended = add(records.runs), add(records.runs, priority=-1)
    first = claim_one(records.runs)
    retry = Outcome(again, 1, RunState.QUEUED, 30.0, due_at=99.0, replica=ReplicaId(1, 4000))
    records.runs.finish([retry])
    assert records.runs.get(first.run_id).replica == ReplicaId(1, 4000)
    second = claim_one(records.runs)
    records.runs.finish([dataclasses.replace(succeeded(second), replica=ReplicaId(3, 4711))])
    later = open_records().runs
    assert later.get(ended).replica == ReplicaId(3, 4711)
    listed = {run.run_id: run.replica for run in later.find(RunFilter("default"), 10, None)}
    assert listed == {again: ReplicaId(1, 4000), ended: ReplicaId(3, 4711)}


def test_runs_of_a_database_from_before_replicas_were_told_are_there_without(open_records, records):
    old = add(records.runs)
    with records.transaction() as connection:
        for name in ("replica", "replica_pid"):
            connection.exec_driver_sql(f"ALTER TABLE runs DROP COLUMN {name}")
        connection.exec_driver_sql("DROP TABLE data_folder")
        connection.exec_driver_sql("UPDATE schema_version SET version_num = '0007'")
    runs = open_records().runs
    assert runs.get(old).replica is None
    run = claim_one(runs)
    runs.finish([dataclasses.replace(succeeded(run), replica=ReplicaId(2, 5))])
    assert runs.get(old).replica == ReplicaId(2, 5)


def test_the_end_of_an_earlier_attempt_is_not_believed(runs):
    add(runs)
    first = claim_one(runs)
    runs.reclaim(1000.0, None, 5, ERROR)
    second = claim_one(runs, now=1000.0)
    assert list(runs.finish([succeeded(first, b"[1]")])) == [False]
    assert runs.get(first.run_id).state is RunState.RUNNING
    assert list(runs.finish([succeeded(second, b"[2]")])) == [True]
    assert runs.get(first.run_id).result.inline == b"[2]"


def test_a_failed_run_keeps_its_error(runs):
    add(runs)
    run = claim_one(runs)
    runs.finish([Outcome(run.run_id, 1, RunState.FAILED, 30.0, error=ERROR)])
    assert runs.get(run.run_id).error == {"code": "worker_died", "message": "gone"}


def test_only_expired_leases_are_taken_back_unless_the_holder_cannot_live(runs):
    add(runs)
    run = claim_one(runs, now=20.0, owner="me")
    assert runs.reclaim(49.0, None, 5, ERROR) == (set(), [])
    assert list(runs.renew([(run.run_id, 1), (run.run_id, 2)], 90.0)) == [(run.run_id, 2)]
    assert runs.reclaim(51.0, None, 5, ERROR) == (set(), [])
    assert runs.reclaim(51.0, "me", 5, ERROR) == (set(), [])
    assert runs.reclaim(51.0, "another", 5, ERROR) == ({NAME}, [])
    found = runs.get(run.run_id)
    assert (found.state, found.crashes, found.owner) == (RunState.QUEUED, 1, None)
    assert list(runs.renew([(run.run_id, 1)], 90.0)) == [(run.run_id, 1)]


def test_claims_that_their_owner_does_not_know_of_are_queued_again(runs):
    known, unknown, other = add(runs), add(runs), add(runs)
    (first,) = runs.claim("me", {NAME: 1}, 20.0, 30.0).runs
    (second,) = runs.claim("me", {NAME: 1}, 20.0, 30.0).runs
    claim_one(runs, owner="you")
    assert (first.run_id, second.run_id) == (known, unknown)
    assert runs.release("me", [(known, 1)]) == {NAME}
    assert runs.release("me", [(known, 1)]) == set()
    states = [runs.get(run_id).state for run_id in (known, unknown, other)]
    assert states == [RunState.RUNNING, RunState.QUEUED, RunState.RUNNING]
    again = claim_one(runs)
    assert (again.run_id, again.attempt, again.crashes) == (unknown, 2, 0)
    assert runs.finish([succeeded(second), succeeded(again)]) == [False, True]


def test_a_run_that_lost_too_many_attempts_has_failed(records, runs):
    add(runs, webhook_url="https://a.example/x")
    for _ in range(2):
        claim_one(runs)
        assert runs.reclaim(1000.0, None, 3, ERROR).failed == []
    run = claim_one(runs, now=1000.0)
    (failed,) = runs.reclaim(2000.0, None, 3, ERROR).failed
    assert (failed.run_id, failed.state, failed.crashes) == (run.run_id, RunState.FAILED, 3)
    assert failed.error["code"] == "worker_died"
    assert len(deliveries(records)) == 1


@pytest.mark.parametrize("claimed", [False, True])
def test_a_run_is_cancelled_queued_or_running_but_not_ended(runs, claimed):
    run_id = add(runs)
    run = claim_one(runs) if claimed else None
    assert runs.cancel(run_id, 40.0).state is RunState.CANCELLED
    assert runs.claim("me", {NAME: 1}, 50.0, 30.0).runs == []
    if run is not None:
        assert list(runs.finish([succeeded(run)])) == [False]
    again = runs.cancel(run_id, 60.0)
    assert (again.state, again.finished_at) == (RunState.CANCELLED, 40.0)


def test_a_run_at_its_end_is_not_cancelled(runs):
    add(runs)
    run = claim_one(runs)
    runs.finish([succeeded(run)])
    assert runs.cancel(run.run_id, 60.0).state is RunState.SUCCEEDED


def test_every_end_of_a_run_with_a_webhook_has_one_delivery(records, runs):
    url = "https://a.example/x"
    ended = []
    for _ in range(2):
        add(runs, webhook_url=url)
    add(runs)
    for run in runs.claim("me", {NAME: 3}, 20.0, 30.0).runs:
        runs.finish([succeeded(run), succeeded(run)])
        ended.append(run.run_id)
    cancelled = add(runs, webhook_url=url)
    runs.cancel(cancelled, 40.0)
    failed = add(runs, webhook_url=url)
    runs.fail_queued(NAME, ERROR, 50.0)
    found = deliveries(records)
    assert [row.run_id for row in found] == [*ended[:2], cancelled, failed]
    assert {(row.url, row.state, row.attempt) for row in found} == {(url, "pending", 0)}
    assert [row.next_attempt_at for row in found] == [30.0, 30.0, 40.0, 50.0]
    assert all(row.id.startswith("msg_") for row in found)


def test_a_retry_has_no_delivery(records, runs):
    add(runs, webhook_url="https://a.example/x")
    run = claim_one(runs)
    runs.finish([Outcome(run.run_id, 1, RunState.QUEUED, 21.0)])
    assert deliveries(records) == []


def test_runs_are_listed_newest_first_in_pages(runs):
    names = ("flow", "another", "flow")
    ids = [add(runs, deployment=name, created_at=float(at)) for at, name in enumerate(names)]
    add(runs, project="other")
    page = runs.find(RunFilter("default"), 2)
    assert [r.run_id for r in page] == [ids[2], ids[1]]
    rest = runs.find(RunFilter("default"), 2, RunCursor(page[-1].created_at, page[-1].run_id))
    assert [r.run_id for r in rest] == [ids[0]]
    assert page[0].input is None


def test_runs_of_the_same_moment_are_each_in_one_page(runs):
    ids = {add(runs) for _ in range(5)}
    found, place = [], None
    while page := runs.find(RunFilter("default"), 2, place):
        found += [r.run_id for r in page]
        place = RunCursor(page[-1].created_at, page[-1].run_id)
    assert len(found) == 5
    assert set(found) == ids


def test_runs_are_found_by_all_that_lists_filter_by(runs):
    slow = add(runs, created_at=11.0)
    run = claim_one(runs)
    runs.finish([dataclasses.replace(succeeded(run), run_time_ms=900.0, version=2)])
    wrong = add(runs, created_at=12.0)
    runs.fail_queued(NAME, b'{"code":"worker_died","message":"gone"}', 50.0)
    waiting = add(runs, created_at=13.0, deployment="another")
    for wanted, ids in (
        ({"deployment": "another"}, [waiting]),
        ({"only": ("another",)}, [waiting]),
        ({"only": ()}, []),
        ({"states": (RunState.FAILED, RunState.SUCCEEDED)}, [wrong, slow]),
        ({"version": 2}, [slow]),
        ({"since": 12.0}, [waiting, wrong]),
        ({"until": 12.0}, [slow]),
        ({"min_ms": 900.0}, [slow]),
        ({"max_ms": 899.0}, []),
        ({"code": "worker_died"}, [wrong]),
        ({"code": "not_ready"}, []),
    ):
        assert [r.run_id for r in runs.find(RunFilter("default", **wanted), 9)] == ids, wanted


def test_old_and_surplus_finished_runs_are_forgotten_but_not_untold_ones(records, runs):
    for at in (10.0, 20.0, 30.0, 40.0):
        add(runs)
        run = claim_one(runs, now=50.0)
        runs.finish([dataclasses.replace(succeeded(run), at=at)])
    untold = add(runs, webhook_url="https://a.example/x")
    run = claim_one(runs, now=50.0)
    runs.finish([dataclasses.replace(succeeded(run), at=1.0)])
    waiting = add(runs)
    assert runs.purge(15.0, 100) == 1
    assert runs.purge(0.0, 2) == 1
    left = runs.find(RunFilter("default"), 9)
    assert {r.finished_at for r in left} == {None, 1.0, 40.0, 30.0}
    assert {untold, waiting} <= {r.run_id for r in left}


def test_the_blobs_of_inputs_and_results_are_named(runs):
    a, b = "a" * 64, "b" * 64
    add(runs, input=Payload(None, a, 70_000))
    run = claim_one(runs)
    result = Payload(None, b, 80_000)
    runs.finish([dataclasses.replace(succeeded(run), result=result)])
    assert list(runs.blobs()) == [a, b]
    assert runs.get(run.run_id).result == result


def test_numbers_of_forgotten_runs_are_not_used_again(runs):
    first = runs.get(add(runs)).seq
    runs.finish([succeeded(claim_one(runs))])
    runs.purge(100.0, 0)
    assert runs.get(add(runs)).seq > first
