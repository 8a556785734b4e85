import json

import pytest

from penstock.core.errors import (
    BodyTooLarge,
    NotReady,
    Overloaded,
    SlowBody,
    Unauthorized,
    WorkerDied,
)
from penstock.engine.base import Answer
from penstock.server.gateway.respond import Wire, refusal, refusal_closes, render

RUN_ID = "6260b8e6-4950-4963-ab1c-ab9d5827d611"


@pytest.mark.parametrize("timing", [b"", b"queue;dur=0.1"])
@pytest.mark.parametrize("body", [b"", b"{}", memoryview(b"[1, 2]")])
def test_the_quick_way_writes_what_the_plain_way_writes(timing, body):
    wire = Wire(lambda: 1_000_000_000.5)
    answer = Answer(timing=timing, body=body)
    plain = wire.head(render(answer, RUN_ID)) + bytes(body)
    assert wire.success(answer, RUN_ID) == plain


def test_the_date_follows_the_clock():
    now = [1_000_000_000.9]
    wire = Wire(lambda: now[0])
    assert wire.date() == b"Sun, 09 Sep 2001 01:46:40 GMT"
    now[0] += 0.2
    assert wire.date() == b"Sun, 09 Sep 2001 01:46:41 GMT"
    assert b"01:46:41" in wire.success(Answer(body=b"{}"), RUN_ID)


def test_an_error_of_the_server_is_written_in_the_one_shape():
    rendered = render(refusal(WorkerDied("It died.", stage=2, hint="Try again.")), RUN_ID)
    told = json.loads(rendered.body)
    assert rendered.status == 502
    assert told["run_id"] == RUN_ID
    assert told["error"]["code"] == "worker_died"
    assert told["error"]["stage"] == 2


def test_tracebacks_are_shown_when_asked_for():
    answer = refusal(WorkerDied("It died.", traceback="line 1"))
    assert b"line 1" not in render(answer, RUN_ID).body
    assert b"line 1" in render(answer, RUN_ID, with_traceback=True).body


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Overloaded("x"), b"1"),
        (Overloaded("x", retry_after_s=0.1), b"1"),
        (Overloaded("x", retry_after_s=2.1), b"3"),
        (NotReady("x", retry_after_s=5), b"5"),
    ],
)
def test_retry_after_is_whole_seconds(error, seconds):
    assert dict(render(refusal(error), RUN_ID).headers)[b"retry-after"] == seconds


def test_a_worker_that_says_overloaded_gets_retry_after_too():
    fields = dict(render(Answer("overloaded", body=b"{}"), RUN_ID).headers)
    assert fields[b"retry-after"] == b"1"


def test_401_names_the_scheme():
    assert dict(render(refusal(Unauthorized("x")), RUN_ID).headers)[b"www-authenticate"]


def test_the_connection_is_closed_when_the_body_is_not_worth_reading():
    assert refusal_closes(BodyTooLarge("x"), 10, 100)
    assert refusal_closes(SlowBody("x"), 10, 100)
    assert refusal_closes(Unauthorized("x"), 101, 100)
    assert refusal_closes(Unauthorized("x"), -1, 100)
    assert not refusal_closes(Unauthorized("x"), 100, 100)
