"""What every webhook store and every upload store promises."""

from __future__ import annotations

import pytest

from penstock.core.delivery_records import (
    AttemptRecord,
    DeliveryState,
    Settlement,
    UploadRecord,
)
from penstock.core.errors import FileQuotaExceeded, NotFound
from penstock.core.names import new_run_id
from penstock.core.run_records import NewRun, Payload

PENDING, DELIVERED, FAILED, CANCELLED = (
    DeliveryState.PENDING,
    DeliveryState.DELIVERED,
    DeliveryState.FAILED,
    DeliveryState.CANCELLED,
)


def add_delivery(records, at: float, url: str = "http://a.example/", project="default"):
    """End a run at a time; return the id of the delivery that its end made."""
    run_id = new_run_id()
    payload = Payload(b"[]", None, 2)
    records.runs.add(
        [NewRun(run_id, project, "flow", "key", at, "text/json", payload, webhook_url=url)]
    )
    records.runs.cancel(run_id, at)
    (delivery,) = records.webhooks.list(project, run_id=run_id, limit=2)
    return delivery.id


def settlement(delivery_id: str, attempt: int, state, at: float = 5.0, again=None) -> Settlement:
    made = AttemptRecord(at, None if state is FAILED else 200, "no" if state is FAILED else "", 1.5)
    return Settlement(delivery_id, attempt, made, state, again, made.error or None)


def test_due_deliveries_come_longest_due_first_and_only_in_time(records) -> None:
    store = records.webhooks
    third, first, second, later = (add_delivery(records, at) for at in (3.0, 1.0, 2.0, 9.0))
    assert [d.id for d in store.due(3.0, 10, (), ())] == [first, second, third]
    assert [d.id for d in store.due(3.0, 1, (), ())] == [first]
    assert [d.id for d in store.due(3.0, 10, {first, third}, ())] == [second]
    assert store.next_due(3.0) == 9.0
    assert store.next_due(9.0) is None
    assert store.get("default", later).next_attempt_at == 9.0


def test_the_log_may_be_of_some_deployments_only(records) -> None:
    ids = [add_delivery(records, float(at)) for at in (1, 2)]
    listed = records.webhooks.list("default", only=("flow", "other"), limit=9)
    assert [d.id for d in listed] == ids[::-1]
    assert not records.webhooks.list("default", only=("other",), limit=9)


def test_receivers_are_left_out_by_their_origin_exactly(records) -> None:
    urls = ["http://a_b.example/x", "http://axb.example/x", "http://a_b.example:81/x"]
    ids = [add_delivery(records, float(n), url) for n, url in enumerate(urls)]
    found = records.webhooks.due(9.0, 10, (), ["http://a_b.example"])
    assert [d.id for d in found] == ids[1:]


def test_an_attempt_is_recorded_with_what_it_makes_of_the_delivery(records) -> None:
    store = records.webhooks
    delivery_id = add_delivery(records, 1.0)
    assert store.settle(settlement(delivery_id, 0, PENDING, 5.0, again=8.0))
    found = store.get("default", delivery_id)
    assert (found.attempt, found.next_attempt_at, found.state) == (1, 8.0, PENDING)
    assert store.settle(settlement(delivery_id, 1, DELIVERED, 8.5))
    found = store.get("default", delivery_id)
    assert (found.attempt, found.state, found.delivered_at) == (2, DELIVERED, 8.5)
    assert (found.last_status, found.next_attempt_at) == (200, None)
    assert [a.at for a in store.attempts(delivery_id)] == [5.0, 8.5]
    assert store.due(99.0, 10, (), ()) == []


def test_an_attempt_that_is_not_the_next_one_changes_nothing(records) -> None:
    store = records.webhooks
    delivery_id = add_delivery(records, 1.0)
    assert not store.settle(settlement(delivery_id, 1, DELIVERED))
    assert not store.settle(settlement("msg_none", 0, DELIVERED))
    assert store.settle(settlement(delivery_id, 0, FAILED))
    assert not store.settle(settlement(delivery_id, 1, DELIVERED))
    assert store.get("default", delivery_id).state is FAILED
    assert len(store.attempts(delivery_id)) == 1


def test_a_delivery_asked_for_by_hand_is_due_at_once_and_keeps_its_log(records) -> None:
    store = records.webhooks
    delivery_id = add_delivery(records, 1.0)
    store.settle(settlement(delivery_id, 0, FAILED))
    again = store.redeliver("default", delivery_id, 7.0)
    assert again == store.get("default", delivery_id)
    assert (again.state, again.attempt, again.next_attempt_at) == (PENDING, 0, 7.0)
    assert [d.id for d in store.due(7.0, 10, (), ())] == [delivery_id]
    assert len(store.attempts(delivery_id)) == 1
    assert store.redeliver("other", delivery_id, 7.0) is None


def test_only_what_is_pending_is_called_off_and_may_be_asked_for_again(records) -> None:
    store = records.webhooks
    one, other, done = (add_delivery(records, at) for at in (1.0, 2.0, 3.0))
    store.settle(settlement(done, 0, DELIVERED))
    assert store.call_off("other", one, None) == 0
    assert store.call_off("default", one, None) == 1
    found = store.get("default", one)
    assert (found.state, found.next_attempt_at) == (CANCELLED, None)
    assert not store.settle(settlement(one, 0, DELIVERED))
    assert store.call_off("default", None, "http://a.exampl") == 0
    assert store.call_off("default", None, "http://a.example") == 1
    assert [store.get("default", id_).state for id_ in (other, done)] == [CANCELLED, DELIVERED]
    assert store.due(9.0, 10, (), ()) == []
    assert store.redeliver("default", one, 7.0).state is PENDING


def test_the_log_shows_the_latest_fifty_attempts(records) -> None:
    store = records.webhooks
    delivery_id = add_delivery(records, 1.0)
    for number in range(60):
        store.settle(settlement(delivery_id, number, PENDING, float(number), again=0.0))
    assert [a.at for a in store.attempts(delivery_id)] == [float(n) for n in range(10, 60)]


def test_attempts_are_forgotten_with_their_run(records) -> None:
    store = records.webhooks
    delivery_id = add_delivery(records, 1.0)
    store.settle(settlement(delivery_id, 0, DELIVERED))
    assert records.runs.purge(99.0, 0) == 1
    assert store.get("default", delivery_id) is None
    assert store.attempts(delivery_id) == []


def test_deliveries_stay_when_the_store_is_opened_again(open_records, records) -> None:
    delivery_id = add_delivery(records, 1.0)
    assert open_records().webhooks.get("default", delivery_id) is not None


def test_a_replaced_secret_signs_for_a_while(records) -> None:
    store = records.webhooks
    assert store.secrets("default", 1.0) == []
    first = store.replace_secret("default", "one", 1.0, 99.0, shown=False)
    second = store.replace_secret("default", "two", 2.0, 12.0, shown=True)
    assert [s.secret for s in store.secrets("default", 11.0)] == ["two", "one"]
    assert [s.secret for s in store.secrets("default", 12.0)] == ["two"]
    third = store.replace_secret("default", "three", 3.0, 13.0, shown=True)
    assert [s.secret for s in store.secrets("default", 11.0)] == ["three", "two", "one"]
    assert (first.shown_at, second.shown_at, third.retired_at) == (None, 2.0, None)
    assert store.secrets("other", 1.0) == []
    with pytest.raises(NotFound):
        store.replace_secret("nowhere", "x", 1.0, 1.0, shown=True)


def test_a_secret_is_marked_as_shown_once(records) -> None:
    store = records.webhooks
    made = store.replace_secret("default", "one", 1.0, 99.0, shown=False)
    assert store.mark_shown(made.seq, 5.0)
    assert not store.mark_shown(made.seq, 6.0)
    assert store.secrets("default", 1.0)[0].shown_at == 5.0
    assert "one" not in repr(made)


def upload(file_id: str, size: int = 10, at: float = 1.0, until: float = 9.0, **more):
    fields = {"project": "default", "deployment": "flow", "name": "a.png", "sha256": "0" * 64}
    return UploadRecord(
        file_id=file_id, size=size, created_at=at, expires_at=until, **{**fields, **more}
    )


def test_files_are_remembered_listed_and_forgotten(records) -> None:
    store = records.uploads
    one, two = upload("one"), upload("two", at=2.0, until=5.0, sha256="1" * 64)
    store.add(one, 100)
    store.add(two, 100)
    assert store.get("default", "one") == one
    assert store.get("other", "one") is None
    assert store.list("default", 3.0) == [two, one]
    assert store.list("default", 5.0) == [one]
    assert sorted(store.hashes()) == ["0" * 64, "1" * 64]
    assert store.purge(5.0) == 1
    assert store.hashes() == ["0" * 64]
    assert not store.delete("other", "one")
    assert store.delete("default", "one")
    assert not store.delete("default", "one")


def test_the_quota_counts_what_is_not_expired_in_one_project(records) -> None:
    store = records.uploads
    store.add(upload("one", 60, until=5.0), 100)
    store.add(upload("other", 60, project="other"), 100)
    with pytest.raises(FileQuotaExceeded, match=r"60 bytes.*41 bytes does not fit into the 100"):
        store.add(upload("two", 41), 100)
    store.add(upload("two", 40), 100)
    assert store.used_bytes("default", 1.0) == 100
    store.add(upload("three", 60, at=5.0), 100)
    assert store.used_bytes("default", 5.0) == 100
