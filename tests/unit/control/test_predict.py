import msgspec
import pytest

from penstock.codec.frames import ACCEPT_NPY, SHOW_TRACEBACK
from penstock.control.predict import Predictor, RunIds, predict_path
from penstock.core.errors import Forbidden, FunctionFailed, NotFound, NotReady, Unauthorized
from penstock.core.names import is_run_id
from penstock.core.records import KeyRecord, Scope
from penstock.engine.base import Answer, Body, VersionKey


class Pool:
    def __init__(self, number=1, name="iris"):
        self.key = VersionKey("default", name, number)
        self.calls = []
        self.cancelled = []

    def submit(self, call):
        self.calls.append(call)

    def cancel(self, call):
        self.cancelled.append(call)


def _key(scope=Scope.PREDICT, project="default"):
    return KeyRecord(f"{scope}{project}", b"", "pk_x_1", scope, project, "", 0.0)


KEYS = {
    b"predict": _key(),
    b"read": _key(Scope.READ),
    b"deploy": _key(Scope.DEPLOY),
    b"admin": _key(Scope.ADMIN, None),
    b"other": _key(Scope.PREDICT, "other"),
}


def check(authorization):
    if authorization not in KEYS:
        raise Unauthorized("The API key is missing or unknown.")
    return KEYS[authorization]


PATH = b"/v1/default/iris/predict"


@pytest.fixture
def pool():
    return Pool()


@pytest.fixture
def predictor(pool):
    predictor = Predictor(check, max_body=1000)
    predictor.set_route("default", "iris", None, pool, 2.5)
    predictor.set_route("default", "iris", 1, pool, 2.5)
    return predictor


def test_paths_are_those_of_the_api():
    assert predict_path("default", "iris") == PATH
    assert predict_path("default", "iris", 3) == b"/v1/default/iris/versions/3/predict"


@pytest.mark.parametrize("key", [b"predict", b"deploy", b"admin"])
def test_a_key_of_the_project_is_admitted(predictor, pool, key):
    route, record = predictor.admit(PATH, key)
    assert (route.pool, route.max_body, route.timeout_ns) == (pool, 1000, 2_500_000_000)
    assert record is KEYS[key]
    assert predictor.admit(PATH, key) == (route, record)


@pytest.mark.parametrize("path", [PATH, b"/v1/default/nothing/predict", b"/else"])
def test_strangers_learn_nothing_about_names(predictor, path):
    with pytest.raises(Unauthorized):
        predictor.admit(path, b"nobody")


@pytest.mark.parametrize("path", [PATH, b"/v1/default/nothing/predict"])
@pytest.mark.parametrize("key", [b"other", b"read"])
def test_keys_that_may_not_predict_there_learn_nothing_about_names(predictor, path, key):
    predictor.admit(PATH, b"predict")
    with pytest.raises(Forbidden):
        predictor.admit(path, key)


def test_an_unknown_name_is_not_found(predictor):
    with pytest.raises(NotFound, match="'nothing' in project 'default'"):
        predictor.admit(b"/v1/default/nothing/predict", b"predict")
    with pytest.raises(NotFound, match="version 9 of"):
        predictor.admit(b"/v1/default/iris/versions/9/predict", b"predict")
    with pytest.raises(NotFound):
        predictor.admit(b"/else", b"predict")


def test_a_starting_deployment_is_not_ready_until_it_has_a_pool(predictor, pool):
    predictor.set_starting("default", "new")
    with pytest.raises(NotReady) as caught:
        predictor.admit(b"/v1/default/new/predict", b"predict")
    assert caught.value.facts["retry_after_s"] == 1
    predictor.set_route("default", "new", None, pool, 1.0)
    assert predictor.admit(b"/v1/default/new/predict", b"predict")[0].pool is pool


def _start(predictor, key, flags=0):
    answers = []
    route, record = predictor.admit(PATH, key)
    call = predictor.start(
        route, record, b"a/b", Body(b"x"), lambda call, answer: answers.append(answer), flags
    )
    return call, answers


def test_a_call_carries_what_the_worker_needs(predictor, pool):
    call, _ = _start(predictor, b"predict", ACCEPT_NPY)
    assert pool.calls == [call]
    assert is_run_id(call.run_id)
    assert (call.media_type, call.body.data) == (b"a/b", b"x")
    assert call.flags == ACCEPT_NPY | SHOW_TRACEBACK  # kept with the run, whoever called
    assert call.deadline_ns - call.arrived_ns == 2_500_000_000


@pytest.mark.parametrize(("key", "shown"), [(b"predict", 0), (b"deploy", 1), (b"admin", 1)])
def test_tracebacks_are_shown_to_those_who_may_deploy(predictor, key, shown):
    call, answers = _start(predictor, key)
    told = {"code": "function_failed", "message": "m", "traceback": "in line 3"}
    body = msgspec.json.encode({"error": told, "run_id": call.run_id})
    call.on_done(call, Answer("function_failed", body=body))
    error = msgspec.json.decode(answers[0].body)["error"]
    assert ("traceback" in error) == bool(shown)
    assert error["message"] == "m"


def test_an_error_of_the_engine_shows_its_traceback_only_to_those_who_may_deploy(predictor):
    for key, shown in ((b"predict", None), (b"deploy", "in line 3")):
        call, answers = _start(predictor, key)
        error = FunctionFailed("It raised.", traceback="in line 3")
        call.on_done(call, Answer(error.code, error=error))
        assert answers[0].error.traceback == shown


def test_answers_are_passed_on_and_counted(predictor, pool):
    for code in ("", "", "function_failed"):
        call, answers = _start(predictor, b"predict")
        answer = Answer(code)
        call.on_done(call, answer)
        assert answers == [answer]
    tally = predictor.tallies[pool.key]
    assert (tally.calls, tally.errors, tally.cancelled) == (3, 1, 0)
    assert tally.answered == 3


def test_cancelling_reaches_the_pool_that_has_the_call(predictor, pool):
    call, answers = _start(predictor, b"predict")
    predictor.set_route("default", "iris", None, Pool(2), 1.0)
    predictor.cancel(call)
    assert pool.cancelled == [call]
    assert not answers
    assert predictor.tallies[pool.key].cancelled == 1


def test_both_paths_of_a_version_share_their_count(predictor, pool):
    _start(predictor, b"predict")
    route, _ = predictor.admit(b"/v1/default/iris/versions/1/predict", b"predict")
    assert route.tally.calls == 1


def test_a_replaced_version_is_forgotten_with_its_last_path(predictor, pool):
    predictor.set_route("default", "iris", None, Pool(2), 1.0)
    assert pool.key in predictor.tallies
    predictor.remove_route("default", "iris", 1)
    assert pool.key not in predictor.tallies
    predictor.remove_route("default", "iris", 1)
    predictor.remove_route("default", "iris", None)
    assert not predictor.tallies
    assert not predictor.routes


def test_run_ids_are_random_uuids_and_never_the_same():
    ids = RunIds()
    taken = [ids.take() for _ in range(2000)]
    assert len(set(taken)) == 2000
    assert all(is_run_id(run_id) for run_id in taken)
    assert {run_id[14] for run_id in taken} == {"4"}
    assert {run_id[19] for run_id in taken} == set("89ab")
