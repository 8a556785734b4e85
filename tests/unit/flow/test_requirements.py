"""The numbered requirements for processing functions (S1 to S24) that the flow runtime keeps."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from penstock.codec.request import encode_request
from penstock.core.flow import ModelType as M
from penstock.flow.memory import get, save


def test_s02_pre_is_applied_to_the_input_of_its_stages_model(worker, models):
    def halve(rows):
        return np.asarray(rows) / 2

    (result,) = worker([(M.SKLEARN, models.regressor, {"pre": halve})]).results([[20.0, 90.0]])
    assert result == models.own.regressor.predict([[10.0, 45.0]]).tolist()


def test_s02_pre_of_a_later_stage_gets_the_output_after_the_posts_before_it(worker, models):
    seen = []

    def post(result):
        return result + 1

    def pre(value):
        seen.append(value)
        return value - 1

    flow = [
        (M.SKLEARN_PREPROCESSOR, models.scaler, {"post": post}),
        (M.SKLEARN_CLASSIFIER, models.logistic, {"pre": pre}),
    ]
    (result,) = worker(flow).results(models.x[:2].tolist())
    scaled = models.own.scaler.transform(models.x[:2])
    assert np.array_equal(seen[0], scaled + 1)
    assert np.allclose(result, models.own.logistic.predict_proba(scaled))


def test_s03_post_is_applied_before_the_next_stage_or_the_caller(worker, models):
    flow = [(M.SKLEARN, models.regressor, lambda result: {"first": result[0]})]
    (result,) = worker(flow).results([[20.0, 90.0]])
    assert result == {"first": models.own.regressor.predict([[20.0, 90.0]])[0]}


def with_files(data, files):
    sent = encode_request(data, None, files)
    return {"body": sent.to_bytes(), "media_type": sent.media_type}


def test_s04_files_reach_a_pre_alone(worker, models):
    def pre(data, files):
        return [[float(x) for x in f.read().split(b",")] for f in files]

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre})])
    sent = with_files(["a", "b"], [("a.csv", b"20,90"), ("b.csv", b"10,45")])
    (answer,) = service.answers(b"", **{**sent, "body": memoryview(sent["body"])})
    assert answer["result"] == models.own.regressor.predict([[20.0, 90.0], [10.0, 45.0]]).tolist()
    assert len(answer["prediction_ids"]) == 2


def test_s04_files_to_a_flow_that_takes_none_are_refused_with_the_functions_named(worker, models):
    service = worker([(M.SKLEARN, models.regressor, {"pre": lambda data: data})])
    error = service.error(b"", **with_files([[1, 2]], [("a.csv", b"1")]))
    assert error["code"] == "files_not_used"
    assert "pre of stage 1" in error["hint"]


def test_s06_a_pre_that_returns_none_says_so(worker, models):
    error = worker([(M.SKLEARN, models.regressor, {"pre": lambda data: None})]).error([[1, 2]])
    assert (error["code"], error["stage"], error["function"]) == ("returned_none", 1, "pre")
    assert "pre of stage 1" in error["message"]


def test_s07_a_pre_whose_result_does_not_fit_is_named_with_expected_and_got(worker, models):
    def pre(data):
        return np.ones((2, 5), np.float32)

    error = worker([(M.XGBOOST_CLASSIFIER, models.wine_xgb, {"pre": pre})]).error([[1]])
    assert (error["code"], error["stage"], error["function"]) == ("stage_mismatch", 1, "pre")
    assert "pre of stage 1" in error["message"]
    assert error["facts"]["expected"] == "13 values per row"
    assert "float32 and shape (2, 5)" in error["facts"]["got"]


def test_s07_a_request_that_does_not_fit_is_the_callers_mistake(worker, models):
    error = worker([(M.XGBOOST_CLASSIFIER, models.wine_xgb)]).error([[1, 2, 3]])
    assert error["code"] == "input_mismatch"
    assert "the request" in error["message"]


def test_s10_a_post_that_does_not_fit_the_next_stage_is_blamed_by_its_own_stage(worker, models):
    flow = [
        (M.TORCH, models.net, {"post": lambda result: result[:, :2]}),
        (M.XGBOOST_CLASSIFIER, models.xgb),
    ]
    error = worker(flow).error(models.x[:1].tolist())
    assert (error["code"], error["stage"], error["function"]) == ("stage_mismatch", 1, "post")
    assert "model of stage 2" in error["message"]
    assert "4 values per row" in error["message"]


def test_s10_a_model_that_does_not_fit_the_next_model_is_named(worker, models):
    flow = [(M.TORCH, models.net), (M.SKLEARN, models.regressor)]
    error = worker(flow).error(models.x[:1].tolist())
    assert (error["code"], error["stage"], error["function"]) == ("stage_mismatch", 2, None)
    assert "the model of stage 1" in error["message"]


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        ([1, "a", None], [1, "a", None]),
        ({"a": np.float32(0.5)}, {"a": 0.5}),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ({np.int64(3): [np.bool_(True)]}, {"3": [True]}),
        ("text", ["text"]),
        (2.5, [2.5]),
        (np.float64(2.5), [2.5]),
    ],
    ids=repr,
)
def test_s11_a_final_post_may_return_any_of_these(worker, models, returned, result):
    flow = [(M.SKLEARN, models.regressor, lambda _: returned)]
    assert worker(flow).results([[1, 2]]) == [result]


def test_s11_arrays_tensors_and_sparse_matrices_of_a_model_are_serialised(worker, models):
    (tensor,) = worker([(M.TORCH, models.net)]).results(models.x[:2].tolist())
    assert np.allclose(tensor, models.hidden[:2], rtol=1e-4)
    flow = [(M.TORCH, models.net), (M.XGBOOST_CLASSIFIER, models.xgb)]
    (array,) = worker(flow).results(models.x[:2].tolist())
    assert np.allclose(array, models.own.xgb.predict_proba(models.hidden[:2]))


def test_s11_anything_else_names_path_and_type(worker, models):
    flow = [(M.SKLEARN, models.regressor, lambda _: {"a": [object()]})]
    error = worker(flow).error([[1, 2]])
    assert error["code"] == "result_not_serialisable"
    assert 'result["a"][0]' in error["message"]


def test_s13_data_and_files_come_in_the_order_sent(worker, models):
    def pre(data, files):
        assert [f.name for f in files] == [f"{name}.txt" for name in data]
        return np.ones((len(data), 2))

    names = [f"n{i}" for i in range(5)]
    service = worker([(M.SKLEARN, models.regressor, {"pre": pre})])
    sent = with_files(names, [(f"{n}.txt", n.encode()) for n in names])
    (answer,) = service.answers(b"", **sent)
    assert len(answer["result"]) == 5


def test_s14_post_gets_the_requests_data_even_in_stage_3_and_after_mutation(worker, models):
    def pre(data):
        data[0][0] = -1.0
        data.append("spoiled")
        return np.asarray(data[:1])

    def middle(result, input_data):
        input_data.clear()
        return result

    def post(result, input_data):
        return input_data

    flow = [
        (M.SKLEARN_PREPROCESSOR, models.scaler, {"pre": pre, "post": middle}),
        (M.SKLEARN_CLASSIFIER, models.logistic),
        (M.XGBOOST_CLASSIFIER, models.xgb, {"pre": lambda p: np.ones((1, 4)), "post": post}),
    ]
    sent = models.x[:1].tolist()
    assert worker(flow).results(sent) == [sent]


def test_s14_files_are_as_new_for_post(worker, models):
    def pre(data, files):
        files[0].read()
        files[0].close()
        files.pop()
        return [[1.0, 2.0]]

    def post(result, input_data, files):
        return [f.read().decode() for f in files]

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre, "post": post})])
    (answer,) = service.answers(b"", **with_files(["x"], [("a.txt", b"whole")]))
    assert answer["result"] == ["whole"]


def test_s17_a_classifier_gives_rows_by_classes_and_post_takes_the_argmax(worker, models):
    flow = [(M.XGBOOST_CLASSIFIER, models.wine_xgb, lambda p: p.argmax(axis=1))]
    (result,) = worker(flow).results(models.x.tolist())
    assert result == models.own.wine_xgb.predict(models.x).tolist()


def test_s18_a_dict_by_input_with_numpy_values_is_an_answer(worker, models):
    def pre(names):
        return models.x[: len(names)]

    def post(proba, names):
        return dict(zip(names, proba.argmax(axis=1), strict=True))

    flow = [(M.XGBOOST_CLASSIFIER, models.wine_xgb, {"pre": pre, "post": post})]
    assert worker(flow).results(["a", "b"]) == [{"a": 0, "b": 0}]


def test_s18_unhashable_inputs_surface_as_the_users_own_error_with_its_line(worker, models):
    def post(proba, rows):
        return dict.fromkeys(rows, 1)

    flow = [(M.XGBOOST_CLASSIFIER, models.wine_xgb, {"post": post})]
    error = worker(flow).error(models.x[:1].tolist())
    assert (error["code"], error["type"]) == ("function_failed", "TypeError")
    assert "unhashable" in error["message"]
    assert "test_requirements.py, line" in error["message"]


def test_s19_what_pre_saves_post_gets(worker, models):
    def pre(names):
        save("names", names)
        return models.x[: len(names)]

    def post(proba):
        return {name: int(label) for name, label in zip(get("names"), proba.argmax(1), strict=True)}

    service = worker([(M.XGBOOST_CLASSIFIER, models.wine_xgb, {"pre": pre, "post": post})])
    wanted = [[f"r{i}"] for i in range(100)]
    assert service.results(*wanted) == [{name: 0} for (name,) in wanted]


def test_s19_getting_what_nobody_saved_is_a_name_error(worker, models):
    error = worker([(M.SKLEARN, models.regressor, lambda _: get("nothing"))]).error([[1, 2]])
    assert (error["code"], error["type"]) == ("function_failed", "NameError")
    assert "'nothing' not found in memory" in error["message"]


def test_s22_functions_handle_the_whole_list_of_one_request_and_no_other(worker, models):
    sizes = []

    def pre(rows):
        sizes.append(len(rows))
        return rows

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre})])
    bodies = [[[i, n] for n in range(i + 1)] for i in range(6)]
    for _ in range(3):
        got = service.results(*bodies)
    assert sizes[-6:] == [1, 2, 3, 4, 5, 6]
    assert [len(r) for r in got] == [1, 2, 3, 4, 5, 6]


def test_parameters_are_refused_when_no_stage_takes_them(worker, models):
    service = worker([(M.SKLEARN, models.regressor)])
    error = service.error({"data": [[1, 2]], "parameters": {"top_k": 3}})
    assert error["code"] == "input_mismatch"
    assert "parameters" in error["message"]
    assert service.answers({"data": [[1, 2]], "parameters": {}})[0]["result"]


def test_the_error_of_a_reply_is_its_code(worker, models):
    service = worker([(M.SKLEARN, models.regressor)])
    (reply,) = service.service.answer(service.frames(b"{"))
    assert reply.code == b"malformed_body"
    assert msgspec.json.decode(reply.body)["error"]["code"] == "malformed_body"
