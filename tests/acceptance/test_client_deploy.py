"""A data scientist's day with the client and a real server: deploy, call, replace, roll back."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import (
    Conduit,
    Endpoint,
    PenstockError,
    deploy,
    get,
    model_api_request,
    model_type,
    save,
)
from penstock.core.errors import (
    Conflict,
    ExampleFailed,
    Forbidden,
    FunctionFailed,
    LoadFailed,
    NotFound,
    Unauthorized,
)

ROWS = [[1.0, 2.0], [3.0, 4.0]]


@pytest.fixture(autouse=True)
def at_home(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's settings: a server and a deploy key in the environment, no profile."""
    monkeypatch.setenv("PENSTOCK_PROFILE", str(tmp_path / "profile.json"))
    monkeypatch.setenv("PENSTOCK_SERVER", server.url)
    monkeypatch.setenv("PENSTOCK_API_KEY", server.keys["deploy"])


@pytest.fixture(scope="session")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model that adds its two features."""
    import numpy as np
    from sklearn.linear_model import LinearRegression

    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    path = tmp_path_factory.mktemp("models") / "sum.pkl"
    path.write_bytes(pickle.dumps(LinearRegression().fit(rows, rows.sum(axis=1))))
    return path


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A deployment name of the test's own; what it names is deleted at the end."""
    found = f"t{zlib.crc32(request.node.nodeid.encode())}"
    yield found
    with contextlib.suppress(PenstockError):
        Endpoint(_url(found)).delete()


def _url(name: str) -> str:
    from penstock.client.config import resolve
    from penstock.client.session import session_for

    target = resolve()
    project = session_for(target).get("/v1/whoami")["project"]
    return f"{target.server}/v1/{project}/{name}/predict"


def plus_one(result: Any) -> Any:
    return result + 1


def minus_one(result: Any) -> Any:
    return result - 1


def raises(result: Any) -> Any:
    raise ValueError(f"no luck with {len(result)}")


def says_and_raises(result: Any) -> Any:
    print("about to fail")
    raise ValueError(f"no luck with {len(result)}")


def names_first(data: Any) -> Any:
    save("names", [row["name"] for row in data])
    return [row["x"] for row in data]


def by_name(result: Any) -> Any:
    return dict(zip(get("names"), result, strict=True))


def sizes(data: Any, files: Any) -> Any:
    return [[f.size, len(f.read())] for f in files]


def named(result: Any, data: Any, files: Any) -> Any:
    return [[d, f.name, float(r)] for d, f, r in zip(data, files, result, strict=True)]


def test_one_call_makes_an_endpoint_that_answers(regressor: Path, name: str) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name)
    assert isinstance(endpoint, Endpoint)
    assert endpoint.predict(ROWS) == pytest.approx([3.0, 7.0])
    assert endpoint.version == 1


def test_the_printed_endpoint_line_can_be_parsed(regressor: Path, name: str) -> None:
    conduit = Conduit(name, None, [(model_type.SKLEARN, str(regressor))])
    assert conduit.endpoint is None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        conduit.deploy()
    lines = [line for line in out.getvalue().splitlines() if line.startswith("🌍 Endpoint:")]
    assert lines == [f"🌍 Endpoint: {conduit.endpoint}"]
    assert out.getvalue().count("Loading") == 1


def test_the_same_name_is_the_next_version_on_the_same_url(regressor: Path, name: str) -> None:
    first = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    second = deploy([(model_type.SKLEARN, regressor, plus_one)], name, quiet=True)
    assert second == first
    assert (first.version, second.version) == (1, 2)
    assert first.predict(ROWS) == pytest.approx([4.0, 8.0])


def test_rolling_back_and_forth_keeps_the_url(regressor: Path, name: str) -> None:
    deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    endpoint = deploy([(model_type.SKLEARN, regressor, plus_one)], name, quiet=True)
    assert endpoint.rollback() == 1
    assert endpoint.predict(ROWS) == pytest.approx([3.0, 7.0])
    assert [(v.number, v.active) for v in endpoint.versions()] == [(2, False), (1, True)]
    with pytest.raises(Conflict, match="no ready version before version 1"):
        endpoint.rollback()
    endpoint.activate(2)
    assert endpoint.predict(ROWS) == pytest.approx([4.0, 8.0])


def test_a_version_that_is_not_active_can_be_called_by_number(regressor: Path, name: str) -> None:
    deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    endpoint = deploy([(model_type.SKLEARN, regressor, plus_one)], name, activate=False, quiet=True)
    assert endpoint.predict(ROWS) == pytest.approx([3.0, 7.0])
    assert endpoint.call_version(2, ROWS).result == pytest.approx([4.0, 8.0])


def test_a_broken_candidate_raises_why_and_leaves_the_old_version_serving(
    regressor: Path, name: str, tmp_path: Path
) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    broken = tmp_path / "broken.json"
    broken.write_text("this is no model")
    with pytest.raises(LoadFailed, match=r"broken\.json") as caught:
        deploy([(model_type.XGBOOST_REGRESSOR, broken)], name, quiet=True)
    assert caught.value.stage == 1
    assert endpoint.predict(ROWS) == pytest.approx([3.0, 7.0])


def test_a_candidate_that_fails_its_example_never_serves(regressor: Path, name: str) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    flow = [(model_type.SKLEARN, regressor, says_and_raises)]
    with pytest.raises(ExampleFailed) as caught:
        deploy(flow, name, example=ROWS, check_locally=False, quiet=True)
    assert (caught.value.stage, caught.value.function) == (1, "post")
    assert "no luck with 2" in str(caught.value)
    assert "  | about to fail" in str(caught.value)
    assert endpoint.predict(ROWS) == pytest.approx([3.0, 7.0])


def test_an_example_that_fails_here_is_found_before_anything_is_sent(
    regressor: Path, name: str
) -> None:
    flow = [(model_type.SKLEARN, regressor, raises)]
    with pytest.raises(FunctionFailed, match="no luck with 2"):
        deploy(flow, name, example=ROWS, check_locally=True, quiet=True)
    with pytest.raises(NotFound):
        Endpoint(_url(name)).versions()


def test_the_example_gives_the_same_answer_here_and_there(
    regressor: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = [(model_type.SKLEARN, regressor, plus_one)]
    endpoint = deploy(flow, name, example=ROWS, check_locally=True)
    assert "The server gave the same answer" in capsys.readouterr().out
    assert endpoint.predict(ROWS) == pytest.approx([4.0, 8.0])


def test_a_local_run_and_a_served_one_give_the_same_json(regressor: Path, name: str) -> None:
    flow = [(model_type.SKLEARN, regressor, {"pre": names_first, "post": by_name})]
    data = [{"name": "a", "x": [1, 2]}, {"name": "b", "x": [3, 4]}]
    conduit = Conduit(name, None, flow)
    conduit.load(regressor.parent)
    here = conduit.run(data)
    assert here == deploy(flow, name, quiet=True).predict(data)
    assert here == pytest.approx({"a": 3.0, "b": 7.0})


def adding(number: float) -> Any:
    def step(values: Any) -> Any:
        return [[float(sum(row)) + number, 0.0] for row in values]

    return step


def test_model_files_and_functions_of_one_name_stay_apart(
    regressor: Path, name: str, tmp_path: Path
) -> None:
    from sklearn.linear_model import LinearRegression

    paths = [tmp_path / "one" / "model.pkl", tmp_path / "two" / "model.pkl"]
    for path, factor in zip(paths, (1.0, 10.0), strict=True):
        path.parent.mkdir()
        fitted = LinearRegression().fit([[0.0, 0.0], [1.0, 0.0]], [0.0, factor])
        path.write_bytes(pickle.dumps(fitted))
    flow = [
        (model_type.SKLEARN, paths[0], {"pre": adding(1), "post": lambda r: r.reshape(-1, 1)}),
        (model_type.SKLEARN, paths[1], {"pre": adding(100)}),
    ]
    endpoint = deploy(flow, name, quiet=True)
    assert endpoint.predict([[1.0], [2.0]]) == pytest.approx([1020.0, 1030.0])


def test_files_travel_in_order_with_their_names(regressor: Path, name: str, tmp_path: Path) -> None:
    flow = [(model_type.SKLEARN, regressor, {"pre": sizes, "post": named})]
    endpoint = deploy(flow, name, quiet=True)
    (tmp_path / "one.bin").write_bytes(b"1")
    (tmp_path / "two.bin").write_bytes(b"22")
    files = [str(tmp_path / "one.bin"), tmp_path / "two.bin", ("three.bin", b"333")]
    expected = [["a", "one.bin", 2.0], ["b", "two.bin", 4.0], ["c", "three.bin", 6.0]]
    found = endpoint.predict(["a", "b", "c"], files=files)
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert [row[2] for row in found] == pytest.approx([2.0, 4.0, 6.0])


def test_blobs_the_server_has_are_not_sent_again(
    regressor: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = [(model_type.SKLEARN, regressor, plus_one)]
    deploy(flow, name)
    capsys.readouterr()
    deploy(flow, name)
    assert "Uploaded 0 files (0 B), 3 (" in capsys.readouterr().out


def test_a_dict_without_data_reaches_the_function_unchanged(regressor: Path, name: str) -> None:
    def pre(data: Any) -> Any:
        save("keys", sorted(data))
        return [[1.0, 1.0]]

    def post(_result: Any) -> Any:
        return get("keys")

    endpoint = deploy(
        [(model_type.SKLEARN, regressor, {"pre": pre, "post": post})], name, quiet=True
    )
    answer = model_api_request(endpoint, {"prompt": "hi", "max": 3}, _key(endpoint))
    assert answer["status_code"] == 200
    assert answer["data"]["result"] == ["max", "prompt"]
    assert endpoint.predict({"prompt": "hi"}) == ["prompt"]


def test_an_error_names_its_run_stage_and_function_and_stays_parseable(
    regressor: Path, name: str
) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor, raises)], name, quiet=True)
    with pytest.raises(FunctionFailed) as caught:
        endpoint.predict(ROWS)
    assert (caught.value.stage, caught.value.function) == (1, "post")
    assert caught.value.type == "ValueError"
    assert len(caught.value.facts["run_id"]) == 36
    # What Python prints has the line of the function that failed, from 3.11 on.
    assert 'raise ValueError(f"no luck' in caught.value.__notes__[0]
    answer = model_api_request(endpoint, ROWS, _key(endpoint))
    assert answer["status_code"] == 500
    assert answer["data"]["error"]["code"] == "function_failed"


def test_the_whole_answer_has_ids_and_times(regressor: Path, name: str) -> None:
    answer = deploy([(model_type.SKLEARN, regressor)], name, quiet=True).call(ROWS)
    assert answer.prediction_ids == [f"{answer.run_id}-0", f"{answer.run_id}-1"]
    assert answer.run_time_ms > 0
    assert answer.server_timing


def test_threads_may_share_an_endpoint(regressor: Path, name: str) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    wrong: list[Any] = []

    def call(number: int) -> None:
        for _ in range(10):
            found = endpoint.predict([[number, 1.0]])
            if found != pytest.approx([number + 1.0]):
                wrong.append((number, found))

    threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_an_endpoint_without_its_key_finds_it_in_the_environment(
    regressor: Path, name: str
) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    back = pickle.loads(pickle.dumps(endpoint))
    assert back.predict(ROWS) == pytest.approx([3.0, 7.0])


def test_a_predict_key_may_call_but_not_deploy(server: Any, regressor: Path, name: str) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    assert Endpoint(endpoint.url, server.keys["predict"]).predict(ROWS) == pytest.approx([3.0, 7.0])
    with pytest.raises(Forbidden):
        deploy([(model_type.SKLEARN, regressor)], name, server.keys["predict"], quiet=True)
    with pytest.raises(Unauthorized):
        Endpoint(endpoint.url, "pk_d_00000000_" + "x" * 32).predict(ROWS)


def test_an_admin_key_deploys_too(server: Any, regressor: Path, name: str) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, server.keys["admin"], quiet=True)
    assert endpoint.predict(ROWS) == pytest.approx([3.0, 7.0])


def test_a_deleted_deployment_is_gone(regressor: Path, name: str) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    endpoint.delete()
    with pytest.raises(NotFound):
        endpoint.predict(ROWS)


def test_a_function_of_the_users_own_called_deploy_gets_a_helpful_type_error(
    regressor: Path, name: str
) -> None:
    endpoint = deploy([(model_type.SKLEARN, regressor)], name, quiet=True)
    with pytest.raises(TypeError, match=r"deploy\(flow, name, api_key\)"):
        deploy(endpoint, name)


def _key(endpoint: Endpoint) -> str:
    assert endpoint
    return os.environ["PENSTOCK_API_KEY"]
