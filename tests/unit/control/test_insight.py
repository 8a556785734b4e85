"""What calls did, worked out: histograms, parts, rings, samples, drift, verdicts."""

from __future__ import annotations

import json
import math
import random
import time
from types import SimpleNamespace

import pytest

from penstock.control.insight.histogram import (
    BOUNDS_NS,
    SHOWN_NS,
    buckets_of,
    cumulative,
    quantiles_ms,
)
from penstock.control.insight.kept_calls import KeepOptions, Kept, record_of
from penstock.control.insight.points import MOST_PARTS, Point, pack_point, unpack_point
from penstock.control.insight.profiles import (
    Counted,
    count_into,
    groups_of,
    named,
    stability_index,
)
from penstock.control.insight.ring import Ring
from penstock.control.insight.samples import Samples, sample
from penstock.control.insight.timings import Part, place_of, read_parts
from penstock.control.insight.totals import Totals
from penstock.control.insight.truth import verdict_of
from penstock.control.insight.watched import Watched, evenly
from penstock.control.predict import _finished
from penstock.control.tally import Tally
from penstock.engine.base import Answer, VersionKey


def test_a_quantile_is_off_by_five_percent_at_most():
    chance = random.Random(1)
    times = sorted(int(chance.lognormvariate(15, 1.2)) for _ in range(20_000))
    found = quantiles_ms(buckets_of(times), (0.5, 0.95, 0.99))
    for share, ms in zip((0.5, 0.95, 0.99), found, strict=True):
        assert ms == pytest.approx(times[int(share * len(times))] / 1e6, rel=0.05)
    assert quantiles_ms({}, (0.5,)) == [None]


def test_what_prometheus_is_told_counts_each_bound_in():
    times = [SHOWN_NS[0], SHOWN_NS[0] + 1, SHOWN_NS[3], BOUNDS_NS[-1] * 10]
    found = cumulative(buckets_of(times))
    assert found[0] == 1
    assert found[1] == 2
    assert found[3] == 3
    assert found[-1] == 3


def test_parts_are_read_with_what_they_were_joined_with():
    text = 'queue;dur=0.520, s1-pre;dur=2.14, s1-model;dur=4.84;desc="5/9", odd, x;dur=no'
    assert read_parts(text) == [
        Part("queue", 0.52),
        Part("s1-pre", 2.14),
        Part("s1-model", 4.84, 5, 9),
    ]
    assert place_of("s2-dark-s1-model") == (2, "model", "dark-s1")
    assert place_of("s12-post") == (12, "post", "")
    assert place_of("decode") == (0, "decode", "")


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e999", "1e300"])
def test_a_time_that_is_none_is_left_out(number):
    assert read_parts(f"s1-pre;dur={number}, encode;dur=1") == [Part("encode", 1.0)]


def test_a_number_of_any_length_is_no_stage_and_no_rows():
    digits = "9" * 5000
    assert place_of(f"s{digits}-pre") == (0, f"s{digits}-pre", "")
    assert read_parts(f's1-model;dur=1;desc="{digits}/{digits}"') == [Part("s1-model", 1.0)]
    assert place_of("s01-pre") == (0, "s01-pre", "")
    assert place_of("s\u00b2-pre") == (0, "s\u00b2-pre", "")


def test_parts_that_a_worker_makes_up_do_not_fill_the_memory():
    text = ", ".join(f"made-up-{number};dur=1" for number in range(10_000))
    assert len(read_parts(text)) == 256
    assert read_parts(f"{'x' * 5000};dur=1") == []
    point, whole = Point(), Point()
    for number in range(20):
        names = [Part(f"{number}-{n}", 1.0, 1, 1) for n in range(256)]
        point.add_parts(names, 1)
        other = Point()
        other.add_parts(names, 1)
        whole.merge(other)
    for full in (point, whole):
        assert len(full.parts) == len(full.rows) == len(full.model_calls) == MOST_PARTS


def test_a_model_call_that_answered_several_counts_once():
    point = Point()
    for _ in range(5):
        point.add_parts([Part("s1-model", 4.0, 5, 9)], 1)
    point.add_parts([Part("s1-model", 4.0, 1, 0)], 1)
    assert point.parts["s1-model"].calls == 6
    assert sum(point.model_calls["s1-model"].values()) == pytest.approx(1)
    assert point.rows["s1-model"].ms == pytest.approx(9)


def test_an_even_sample_stands_for_all():
    texts = [str(i).encode() for i in range(1003)]
    taken = list(evenly(texts, 100))
    assert len(taken) == 100
    assert sum(weight for _, weight in taken) == 1003
    assert list(evenly(texts[:3], 100)) == [(t, 1) for t in texts[:3]]


def test_of_many_calls_a_second_only_a_sample_of_texts_is_held_and_counts_stay_exact():
    tally = Tally()
    watched = Watched(VersionKey("default", "busy", 1), tally)
    answer = Answer(timing=b"queue;dur=0.5, s1-model;dur=2")
    call = SimpleNamespace(tally=tally, arrived_ns=time.monotonic_ns(), then=lambda *_: None)
    held, points = [], []
    for calls in (5000, 5000, 3, 3):
        for _ in range(calls):
            _finished(call, answer)
        held.append(len(tally.timings))
        points.append(watched.take(Totals()))
    assert held == [5000, 100, 1, 3]
    assert [point.calls for point in points] == [5000, 5000, 3, 3]
    assert [point.parts["s1-model"].calls for point in points] == [5000, 5000, 3, 3]
    assert points[1].parts["s1-model"].ms == pytest.approx(10_000)


def test_a_ring_hands_over_minutes_that_are_whole_and_goes_on_with_one_that_is_not():
    ring = Ring()
    stored = []
    for second in range(130):
        stored += ring.add(Point(calls=1, time_ms=2.0), 1200.0 + second)
    minutes = {start: point.calls for step, start, point in stored if step == 60}
    assert minutes == {1200: 60, 1260: 60}
    (left,) = [point for step, _, point in ring.unstored() if step == 60]
    assert left.calls == 10
    again = Ring()
    again.resume(60, 1320, unpack_point(pack_point(left)))
    whole = again.add(Point(calls=5), 1331.0) + again.add(Point(), 1380.0)
    assert [p.calls for step, _, p in whole if step == 60] == [15]
    assert sum(p.calls for _, p in ring.fine(0)) == 130


def test_a_redacted_sample_has_the_form_and_none_of_the_values():
    body = json.dumps({"name": "Anna", "rows": [[1.5, None, True]] * 60}).encode()
    shown, cut = sample(body, len(body), 10_000, Samples.REDACTED)
    assert not cut
    assert b"Anna" not in shown
    assert json.loads(shown)["name"] == "string of 4"
    assert json.loads(shown)["rows"][0] == ["number", None, "true or false"]
    assert json.loads(shown)["rows"][-1] == "… 10 more"
    assert sample(b"\xff", 1, 10, Samples.REDACTED) == (None, False)
    assert sample(body, len(body), 10, Samples.OFF) == (None, False)
    assert sample(body, len(body), 10, Samples.FULL) == (body[:10], True)


def test_values_like_the_reference_are_stable_and_moved_ones_are_not():
    chance = random.Random(2)
    reference = {"x": groups_of([chance.gauss(0, 1) for _ in range(5000)])}
    for shift, least, most in ((0.0, 0.0, 0.02), (0.5, 0.1, 0.5), (2.0, 1.0, 20.0)):
        counted: Counted = {}
        for _ in range(3000):
            count_into(counted, reference, {"x": chance.gauss(shift, 1)})
        assert least <= stability_index(reference["x"], counted["x"]) <= most, shift
    assert stability_index(reference["x"], type(counted["x"])([0] * 11)) is None


def test_labels_are_counted_by_value_with_others_and_missing_ones_apart():
    groups = groups_of(["a"] * 60 + ["b"] * 40)
    assert (groups.kind, groups.names) == ("category", ["a", "b"])
    counted: Counted = {}
    for value in ["a"] * 60 + ["b"] * 40:
        count_into(counted, {"y": groups}, {"y": value})
    assert stability_index(groups, counted["y"]) == pytest.approx(0)
    for value in ["new"] * 50 + [None] * 50:
        count_into(counted, {"y": groups}, {"y": value})
    assert counted["y"].groups == [60, 40, 50, 50]
    assert stability_index(groups, counted["y"]) > 1
    assert groups_of([0, 1, 2] * 10).kind == "category"


def test_missing_numbers_are_a_group_of_their_own():
    groups = groups_of([1.5, 2.5, None, 3.5] * 10)
    assert groups.kind == "number"
    assert groups.group_of(None) == groups.group_of(math.nan) == groups.size - 1
    assert groups.shares[-1] == 0.25


def test_a_number_beyond_all_floats_is_counted_and_not_added() -> None:
    reference = {"x": groups_of([float(n) for n in range(100)])}
    counted: Counted = {}
    for value in (10**400, -(10**400), 50.0):
        count_into(counted, reference, {"x": value})
    assert sum(counted["x"].groups) == 3
    assert (counted["x"].groups[0], counted["x"].groups[-2]) == (1, 1)
    assert (counted["x"].numbers, counted["x"].total) == (1, 50.0)


def kept_with(code: str, body: bytes) -> Kept:
    return Kept(
        VersionKey("default", "flow", 1), "run", "key", 0.0, 1, b"application/json", 3, b"[1]",
        code, b"", body, len(body), 0, None,
    )  # fmt: skip


@pytest.mark.parametrize("how", list(Samples))
@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("function_failed", '{"error":{"code":"function_failed","message":"é'.encode()[:-1]),
        ("function_failed", b'{"error":{"code":"x","message":"\xff"}}'),
        ("", '{"result":["é'.encode()[:-1]),
        ("", b'{"result":["\xff"],"prediction_ids":[]}'),
        ("", b'{"result":' + b"[" * 3000),
    ],
)
def test_a_call_whose_answer_is_cut_or_cannot_be_read_is_kept_all_the_same(code, body, how) -> None:
    record = record_of(kept_with(code, body), KeepOptions(samples=how))
    assert (record.run_id, record.code) == ("run", code or None)
    if code:
        assert json.loads(record.error or "")["code"] == "function_failed"


def test_values_are_named_as_in_the_prediction_log():
    assert named({"a": 1, "b": [2], "c": "x"}, ["z"]) == {"a": 1, "c": "x"}
    assert named([1, 2.5, "x"], ["first"]) == {"first": 1, "1": 2.5, "2": "x"}
    assert named(7, []) == {"0": 7}


@pytest.mark.parametrize(
    ("output", "truth", "correct", "difference"),
    [
        (1, 1, True, None),
        (1.0, 1, True, None),
        ("cat", "dog", False, None),
        ([0.1, 0.7, 0.2], 1, True, None),
        ([0.1, 0.7, 0.2], 2, False, None),
        ([3], 3, True, None),
        (2.5, 3.0, None, 0.5),
        (3, 2.5, None, 0.5),
        (True, True, True, None),
        ({"a": 1}, {"a": 1}, True, None),
        (["x", "y"], ["x"], False, None),
    ],
)
def test_a_prediction_is_compared_with_its_truth(output, truth, correct, difference):
    assert verdict_of(output, truth) == (correct, difference)
