"""Signatures, judged by the independent library of the standard; and the schedule."""

from __future__ import annotations

import base64
import json
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from penstock.control.webhook_payload import event_body
from penstock.control.webhook_schedule import Schedule
from penstock.control.webhook_signing import new_secret, signed_headers


def test_the_standard_library_accepts_a_signature_of_either_secret() -> None:
    old, new = new_secret(), new_secret()
    body = json.dumps({"type": "run.succeeded", "result": "é"}).encode()
    headers = signed_headers("msg_1", time.time(), body, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)["type"] == "run.succeeded"
    assert len(headers["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize("changed", ["body", "id", "time", "secret"])
def test_whatever_is_changed_breaks_the_signature(changed: str) -> None:
    secret, body = new_secret(), b'{"a":1}'
    headers = signed_headers("msg_1", time.time(), body, [secret])
    if changed == "body":
        body = b'{"a":2}'
    elif changed == "id":
        headers["webhook-id"] = "msg_2"
    elif changed == "time":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    else:
        secret = new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_a_secret_has_its_prefix_and_32_random_bytes() -> None:
    one, other = new_secret(), new_secret()
    assert one != other
    assert one.startswith("whsec_")
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32


def test_the_schedule_is_as_documented_and_ends_within_three_days() -> None:
    schedule = Schedule()
    hour = 3600
    assert schedule.pauses() == [
        5,
        300,
        hour / 2,
        2 * hour,
        5 * hour,
        10 * hour,
        24 * hour,
        24 * hour,
    ]
    assert sum(schedule.pauses()) <= 72 * hour
    assert schedule.next_at(9, 0.0) is None


def test_pauses_are_spread_by_a_tenth() -> None:
    found = [Schedule().next_at(2, 1000.0) for _ in range(300)]
    assert all(at is not None and 1270 <= at <= 1330 for at in found)
    assert len(set(found)) > 250


RUN = (
    b'{"run_id":"r","state":"succeeded","run_time_ms":1.5,"result":[1e400, {"b":2}],'
    b'"prediction_ids":["r-0"]}'
)


def test_the_body_is_flat_and_the_result_is_not_touched() -> None:
    body = event_body(RUN, 1700000000.25, 200, "http://here/v1/p/runs/r")
    assert b'"result":[1e400, {"b":2}]' in body
    fields = json.loads(body)
    assert fields["type"] == "run.succeeded"
    assert fields["timestamp"] == "2023-11-14T22:13:20.250Z"
    assert (fields["run_id"], fields["run_time_ms"], fields["status_code"]) == ("r", 1.5, 200)
    assert (fields["message"], fields["prediction_ids"]) == ("The run succeeded.", ["r-0"])


def test_the_message_of_a_failed_run_is_the_error_s() -> None:
    run = b'{"run_id":"r","state":"failed","error":{"code":"x","message":"pre of stage 1 raised."}}'
    fields = json.loads(event_body(run, 0.0, 500, "u"))
    assert (fields["type"], fields["message"]) == ("run.failed", "pre of stage 1 raised.")
    assert fields["error"]["code"] == "x"


def test_a_large_result_is_replaced_by_an_address() -> None:
    fields = json.loads(event_body(RUN, 0.0, 200, "http://here/v1/p/runs/r", limit=64))
    assert "result" not in fields
    assert fields["result_url"] == "http://here/v1/p/runs/r"
    assert "get it at result_url" in fields["message"]
