"""`parallel` and `switch`: branches answer as the flows in them would, alone and together."""

from __future__ import annotations

import numpy as np
import pytest

from penstock import parallel, save, switch
from penstock.core.errors import StageMismatch, UnknownBranch
from penstock.core.flow import Flow
from penstock.core.flow import ModelType as M
from penstock.flow.local import LocalFlow


def run(flow, data, **more):
    return LocalFlow(Flow.parse(flow)).run(data, **more)


def two(models):
    return {
        "scaled": [
            (M.SKLEARN_PREPROCESSOR, models.scaler),
            (M.SKLEARN_CLASSIFIER, models.logistic),
        ],
        "boosted": (M.XGBOOST_CLASSIFIER, models.wine_xgb),
    }


def both_answers(models, rows):
    own = models.own
    return own.logistic.predict_proba(own.scaler.transform(rows)), own.wine_xgb.predict_proba(rows)


def test_the_mean_of_two_classifiers_is_the_mean_of_their_own_answers(models):
    rows = models.x[::20]
    one, other = both_answers(models, rows)
    answer = run([parallel(two(models), "mean")], rows.tolist())
    np.testing.assert_allclose(answer, (one + other) / 2, rtol=1e-6)


def test_without_combine_the_results_go_on_as_they_were_given_a_list_or_a_dict(models):
    rows = models.x[:3]
    one, other = both_answers(models, rows)
    by_name = run([parallel(two(models))], rows.tolist())
    assert list(by_name) == ["scaled", "boosted"]
    np.testing.assert_allclose(by_name["boosted"], other, rtol=1e-6)
    listed = run([parallel(list(two(models).values()))], rows.tolist())
    np.testing.assert_allclose(listed[0], one, rtol=1e-9)


def test_vote_takes_the_class_that_most_branches_give(models):
    rows = models.x[::15]
    flows = [*two(models).values(), (M.XGBOOST_CLASSIFIER, models.wine_xgb)]
    votes = [both_answers(models, rows)[i].argmax(axis=1) for i in (0, 1, 1)]
    want = [max(set(v), key=list(v).count) for v in np.stack(votes).T.tolist()]
    assert run([parallel(flows, "vote")], rows.tolist()) == want


def test_concat_with_an_empty_branch_puts_the_input_beside_a_models_output(models):
    rows = models.x[:4]
    flow = [parallel([[], (M.SKLEARN_PREPROCESSOR, models.scaler)], "concat")]
    answer = np.array(run(flow, rows.tolist()))
    assert answer.shape == (4, 26)
    np.testing.assert_allclose(answer[:, 13:], models.own.scaler.transform(rows))


def test_a_combine_function_gets_the_results_and_the_requests_own_data(models):
    def combine(results, input_data, files):
        return {"rows": len(input_data), "files": len(files), "branches": sorted(results)}

    answer = run(
        [(M.SKLEARN_PREPROCESSOR, models.scaler), parallel(two_scaled(models), combine)],
        models.x[:2].tolist(),
        files=[b"a"],
    )
    assert answer == {"rows": 2, "files": 1, "branches": ["again", "logistic"]}


def two_scaled(models):
    return {
        "logistic": (M.SKLEARN_CLASSIFIER, models.logistic),
        "again": (M.SKLEARN_CLASSIFIER, models.logistic, {"post": lambda r: r.argmax(axis=1)}),
    }


def test_pre_and_post_of_the_stage_come_before_and_after_its_branches(models):
    seen = []

    def pre(data):
        seen.append("pre")
        return [row[:13] for row in data]

    def post(result):
        seen.append("post")
        return result.argmax(axis=1)

    flow = [(parallel(two(models), "mean"), {"pre": pre, "post": post})]
    rows = np.hstack([models.x[:5], np.ones((5, 1))])
    assert run(flow, rows.tolist()) == models.y[:5].tolist()
    assert seen == ["pre", "post"]


def test_a_branch_that_changes_its_input_in_place_changes_no_other_branchs(models):
    def spoil(data):
        for row in data:
            row[:] = [0.0] * len(row)
        return data

    flows = [
        (M.SKLEARN_PREPROCESSOR, models.scaler, {"pre": spoil}),
        (M.SKLEARN_PREPROCESSOR, models.scaler, {"post": lambda result, sent: [sent, result]}),
    ]
    rows = models.x[:2]
    _, (sent, scaled) = run([parallel(flows)], rows.tolist())
    assert sent == rows.tolist()
    np.testing.assert_allclose(scaled, models.own.scaler.transform(rows))


def test_a_switch_takes_each_request_to_the_branch_its_function_names(models):
    flow = [switch(lambda data: "big" if len(data) > 2 else "small", sized(models))]
    local = LocalFlow(Flow.parse(flow))
    assert local.run(models.x[:4].tolist()) == ["big", 4]
    assert local.run(models.x[:2].tolist()) == ["small", 2]


def sized(models):
    return {
        "big": (M.SKLEARN_PREPROCESSOR, models.scaler, lambda r: ["big", len(r)]),
        "small": [(M.PYTHON, lambda rows: ["small", len(rows)])],
    }


def test_an_unknown_branch_is_an_error_that_names_the_branches(models):
    with pytest.raises(UnknownBranch, match=r"returned 'huge'.*'big', 'small'") as caught:
        run([switch(lambda data: "huge", sized(models))], [[1.0]])
    assert (caught.value.stage, caught.value.function) == (1, "choose")


def test_a_default_branch_takes_what_no_other_is_named_for(models):
    flow = [switch(lambda data: "huge", sized(models), default="small")]
    assert run(flow, [[1.0]]) == ["small", 1]


def test_branches_may_have_branches(models):
    inner = parallel(two(models), "mean")
    flow = [switch(lambda data: "wine", {"wine": [inner], "other": []})]
    rows = models.x[:3]
    want = sum(both_answers(models, rows)) / 2
    np.testing.assert_allclose(run(flow, rows.tolist()), want, rtol=1e-6)


def test_errors_inside_a_branch_name_the_branch_and_its_stage(models):
    def broken(result):
        raise ValueError("no")

    flows = {"good": [], "bad": (M.SKLEARN_PREPROCESSOR, models.scaler, broken)}
    with pytest.raises(Exception, match="post of stage 1 of branch 'bad' of stage 1") as caught:
        run([parallel(flows)], models.x[:1].tolist())
    told = caught.value.to_dict()
    assert (told["stage"], told["function"]) == (1, "post")
    assert told["facts"]["branch"] == "1.bad.1"


def test_results_that_do_not_go_together_are_told_with_their_branches(models):
    flows = {"table": [], "scores": (M.SKLEARN_CLASSIFIER, models.logistic)}
    with pytest.raises(StageMismatch, match=r"mean of stage 1.*'table' gave.*'scores' gave"):
        run([parallel(flows, "mean")], models.x[:2].tolist())


def test_waiting_requests_are_joined_in_each_branch_and_answer_as_alone(worker, models):
    served = worker([parallel(two(models), "mean")])
    rows = [[row] for row in models.x[::9].tolist()]
    alone = [served.results(row)[0] for row in rows]
    for _ in range(3):
        together = served.results(*rows)
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    (stage,) = served.service.facts()["stages"]
    batching = [s["batching"] for branch in stage["branches"].values() for s in branch]
    assert [b["state"] for b in batching] == ["on"] * 3
    assert all(b["joined_runs"] >= len(rows) for b in batching)


def test_a_switch_joins_the_requests_that_chose_the_same_branch(worker, models):
    flows = {
        "low": (M.XGBOOST_CLASSIFIER, models.wine_xgb),
        "high": (M.SKLEARN_CLASSIFIER, models.logistic),
    }
    served = worker([switch(lambda data: "low" if data[0][0] < 13 else "high", flows)])
    rows = [[row] for row in models.x[::7].tolist()]
    alone = [served.results(row)[0] for row in rows]
    for _ in range(3):
        assert np.allclose(served.results(*rows), alone, rtol=1e-6)
    facts = served.service.facts()["stages"][0]["branches"]
    assert {name: s[0]["batching"]["state"] for name, s in facts.items()} == {
        "low": "on",
        "high": "on",
    }


def test_a_request_that_fails_in_a_branch_harms_no_other(worker, models):
    served = worker([parallel(two(models), "mean")])
    good = [models.x[0].tolist()]
    answers = served.answers(good, [[1.0, 2.0]], good)
    assert [("result" in a) for a in answers] == [True, False, True]
    assert "branch 'scaled' of stage 1" in answers[1]["error"]["message"]


def test_server_timing_has_a_name_for_every_step_that_was_taken(worker, models):
    flow = [
        (M.SKLEARN_PREPROCESSOR, models.scaler),
        (
            switch(
                lambda data: "b", {"a": [(M.PYTHON, lambda v: v)], "b": two_scaled_flow(models)}
            ),
            {"post": lambda r: r},
        ),
    ]
    served = worker(flow)
    (reply,) = served.service.answer(served.frames([models.x[0].tolist()]))
    names = [part.split(b";")[0].decode() for part in reply.timing.split(b", ")]
    assert names == [
        "queue", "decode", "s1-model", "s2-choose",
        "s2-b-s1-one-s1-model", "s2-b-s1-two-s1-model", "s2-b-s1-two-s1-post", "s2-b-s1-combine",
        "s2-post", "encode",
    ]  # fmt: skip


def two_scaled_flow(models):
    flows = {
        "one": (M.SKLEARN_CLASSIFIER, models.logistic),
        "two": (M.SKLEARN_CLASSIFIER, models.logistic, lambda result: result),
    }
    return [parallel(flows, "mean")]


def test_branches_share_the_runs_memory(models):
    def remember(data):
        save("rows", len(data), scope="run")
        return data

    def recall(results):
        from penstock import get

        return get("rows", scope="run")

    flow = [parallel([(M.PYTHON, remember), []], recall)]
    assert run(flow, [1, 2, 3]) == [3]


def test_a_flow_with_branches_that_takes_no_files_refuses_them_as_any_other(worker, models):
    served = worker([parallel(two(models), "mean")])
    error = served.error(b"raw", media_type="image/png")
    assert error["code"] == "files_not_used"
