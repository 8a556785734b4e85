"""One bad call never harms another; replies are in order, timed and traced."""

from __future__ import annotations

import re
import time

import msgspec
import numpy as np

from penstock.codec.frames import ACCEPT_NPY, MEDIA_NPY, SHOW_TRACEBACK
from penstock.codec.npy import read_npy, write_npy
from penstock.codec.payload import Request
from penstock.core.flow import Flow
from penstock.core.flow import ModelType as M
from penstock.flow.assemble import assemble_local
from penstock.flow.local_memory import LocalMemory
from penstock.flow.service import FlowService


def test_the_answer_has_result_run_id_time_and_one_id_per_point(worker, models):
    service = worker([(M.SKLEARN, models.regressor)])
    (frame,) = service.frames([[1, 2], [3, 4]])
    (reply,) = service.service.answer([frame])
    body = msgspec.json.decode(reply.body)
    assert set(body) == {"result", "run_id", "run_time_ms", "prediction_ids"}
    assert body["run_id"] == frame.run_id
    assert body["prediction_ids"] == [f"{frame.run_id}-0", f"{frame.run_id}-1"]
    assert body["run_time_ms"] > 0


def test_every_step_is_timed_in_milliseconds(worker, models):
    flow = [
        (M.TORCH, models.net, {"pre": lambda data: np.asarray(data)}),
        (M.XGBOOST_CLASSIFIER, models.xgb, lambda p: p),
    ]
    service = worker(flow)
    frames = service.frames(models.x[:1].tolist(), models.x[1:2].tolist())
    for reply in service.service.answer(frames):
        found = re.findall(r"([a-z0-9-]+);dur=(\d+\.\d{3})", reply.timing.decode())
        assert [name for name, _ in found] == [
            "queue",
            "decode",
            "s1-pre",
            "s1-model",
            "s2-model",
            "s2-post",
            "encode",
        ]
        assert reply.timing.decode() == ", ".join(f"{n};dur={d}" for n, d in found)


def test_bad_calls_among_good_ones_get_their_own_errors(worker, models):
    service = worker([(M.SKLEARN, models.regressor, lambda r: object() if r[0] < 0 else r)])
    good = [[20.0, 90.0]]
    answers = service.answers(good, b"{", [["a", "b"]], [[1]], [[-500.0, -500.0]], good)
    codes = [a.get("error", {}).get("code") for a in answers]
    assert codes == [
        None,
        "malformed_body",
        "input_mismatch",
        "input_mismatch",
        "result_not_serialisable",
        None,
    ]
    assert answers[0]["result"] == answers[5]["result"]


def test_a_call_past_its_deadline_is_not_begun(worker, models):
    service = worker([(M.SKLEARN, models.regressor)])
    late = service.error([[1, 2]], deadline_ns=time.monotonic_ns() - 1)
    assert late["code"] == "deadline_exceeded"
    assert service.answers([[1, 2]], deadline_ns=time.monotonic_ns() + 10**10)[0]["result"]


def test_a_defect_of_ours_is_logged_under_the_run_id_and_harms_nobody_else(
    worker, models, monkeypatch, capsys
):
    service = worker([(M.SKLEARN, models.regressor)])
    admit = service.service._flow.admit

    def faulty(request: Request):
        if request.data == [[9, 9]]:
            raise RuntimeError("defect")
        admit(request)

    monkeypatch.setattr(service.service._flow, "admit", faulty)
    bad, good = service.answers([[9, 9]], [[1, 2]])
    assert bad["error"]["code"] == "internal"
    assert good["result"]
    logged = capsys.readouterr().err
    assert bad["run_id"] in logged
    assert "RuntimeError: defect" in logged


def test_steps_and_changes_are_told(models, tmp_path, monkeypatch, worker):
    monkeypatch.chdir(tmp_path)
    told, placed = [], []
    flow = assemble_local(Flow.parse([(M.TORCH, models.net), (M.SKLEARN, models.logistic4)]))
    service = FlowService(
        flow,
        LocalMemory().ask,
        tmp_path / "told",
        at=lambda stage, part: placed.append((stage, part)),
        notice=told.append,
    )
    frames = worker([(M.TORCH, models.net)]).frames(*models.x[:3, None].tolist())
    assert service.together == 4
    assert all(reply.code == b"" for reply in service.answer(frames))
    assert placed == [(1, 2), (2, 2)]
    assert [stage["batching"]["state"] for stage in told[0]["stages"]] == ["on", "on"]
    assert service.together == 0
    service.answer(frames)
    assert len(told) == 1


def test_tracebacks_are_only_for_those_who_may_see_them(worker, models):
    service = worker([(M.SKLEARN, models.regressor, lambda r: 1 / 0)])
    assert "traceback" not in service.error([[1, 2]])
    assert "ZeroDivisionError" in service.error([[1, 2]], flags=SHOW_TRACEBACK)["traceback"]


def test_npy_goes_in_read_only_and_comes_out_when_asked(worker, models):
    seen = []

    def pre(data):
        seen.append(data.flags.writeable)
        return data

    service = worker([(M.TORCH, models.net, {"pre": pre})])
    x = models.x[:3].astype(np.float32)
    raw = write_npy(x)
    more = {"media_type": "application/x-npy", "flags": ACCEPT_NPY}
    (reply,) = service.service.answer(service.frames(raw, **more))
    assert reply.media == MEDIA_NPY
    np.testing.assert_allclose(read_npy(reply.body), models.hidden[:3], rtol=1e-4, atol=1e-6)
    assert seen == [False]


def test_a_result_that_is_no_array_is_json_even_when_npy_was_asked(worker, models):
    service = worker([(M.SKLEARN, models.regressor, lambda r: {"a": 1})])
    assert service.answers([[1, 2]], flags=ACCEPT_NPY)[0]["result"] == {"a": 1}
