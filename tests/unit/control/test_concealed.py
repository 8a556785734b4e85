"""What keys that may not deploy are not told of an error, and what is not kept of one."""

from __future__ import annotations

import json

import pytest

from penstock.codec.results import error_body
from penstock.control.concealed import without_traceback, without_values
from penstock.control.insight.kept_calls import KeepOptions, Kept, record_of
from penstock.control.insight.samples import Samples
from penstock.core.errors import FunctionFailed
from penstock.engine.base import Answer, VersionKey


def failed() -> FunctionFailed:
    return FunctionFailed(
        "pre of stage 1 raised.", traceback="Traceback ...", values={"name": "'a'"}, place={"l": 1}
    )


@pytest.mark.parametrize("written", [True, False])
def test_neither_traceback_nor_values_are_told(written: bool) -> None:
    error = failed()
    answer = Answer("function_failed", body=error_body(error, "run", with_traceback=True))
    if not written:
        answer = Answer("function_failed", error=error)
    shown = without_traceback(answer)
    told = (
        json.loads(bytes(shown.body))["error"]
        if shown.error is None
        else shown.error.to_dict(with_traceback=True)
    )
    assert "traceback" not in told
    assert told["facts"] == {"place": {"l": 1}}
    assert told["message"] == "pre of stage 1 raised."


@pytest.mark.parametrize("samples", list(Samples))
def test_values_are_kept_only_where_inputs_are(samples: Samples) -> None:
    kept = Kept(
        key=VersionKey("default", "flow", 1), run_id="r", key_id="k", created_at=1.0, took_ns=5,
        media_type=b"application/json", size=3, input=b"[1]", code="function_failed", timing=b"",
        body=b"", body_size=0, media=0, error=failed().to_dict(with_traceback=True),
    )  # fmt: skip
    error = json.loads(record_of(kept, KeepOptions(samples=samples)).error or "")
    assert error["traceback"] == "Traceback ..."
    assert ("values" in error["facts"]) == (samples is Samples.FULL)


def test_an_error_without_values_stays_as_it_is() -> None:
    plain = {"code": "x", "facts": {"line": 3}}
    assert without_values(plain) is plain


@pytest.mark.parametrize(
    "body", [b'{"error":{"code":"x","facts":5}}', b'{"error":{"\xff":1}}', b'{"error":5}', b"["]
)
def test_an_error_that_a_worker_made_up_is_handed_on_as_it_is(body: bytes) -> None:
    assert without_traceback(Answer("x", body=body)).body == body
