"""`deploy` from its arguments to the endpoint: the steps, what is sent, and what it prints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from penstock.client import publish as publish_module
from penstock.client.api import deploy
from penstock.client.endpoint import Endpoint
from penstock.client.local import difference
from penstock.client.request import model_api_request
from penstock.core.errors import (
    ExampleFailed,
    InvalidCall,
    InvalidName,
    InvalidSetting,
    InvalidStage,
    LoadFailed,
    MissingImports,
    NoKey,
    UnexpectedAnswer,
)
from penstock.core.flow import ModelType as model_type
from penstock.environments.describe import describe

SERVER = "http://penstock.test:8700"
KEY = "pk_d_0123abcd_0123456789abcdef0123456789abcdef"
URL = f"{SERVER}/v1/p/flow/predict"


def post(result: Any) -> Any:
    return result


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "xgb.json"
    path.write_text("{}")
    return path


@pytest.fixture
def server(table: Any) -> Any:
    """A server with a project `p` that has nothing, takes everything and is ready at once."""
    table.stored = {}

    def missing(request: httpx2.Request) -> httpx2.Response:
        wanted = json.loads(request.content)["sha256"]
        for sha256 in wanted:
            table.on(f"PUT /v1/p/blobs/{sha256}", put)
        return httpx2.Response(200, json={"missing": [s for s in wanted if s not in table.stored]})

    def put(request: httpx2.Request) -> httpx2.Response:
        table.stored[request.url.path.rpartition("/")[2]] = request.content
        return httpx2.Response(201)

    table.on("GET /v1/whoami", {"project": "p", "scope": "deploy", "key_id": "k", "label": ""})
    table.on("GET /v1/environment", msgspec.to_builtins(describe()))
    table.on("POST /v1/p/blobs/missing", missing)
    table.events(
        "POST /v1/p/flow/versions",
        {"event": "step", "name": "loading", "message": "Loading the version in a worker."},
        {"event": "log", "line": "hello from the worker"},
        {"event": "ready", "version": {"number": 3}, "endpoint": URL},
    )
    return table


def sent(table: Any) -> dict[str, Any]:
    """The body that made the version."""
    posts = [r for r in table.asked if r.url.path.endswith("/versions")]
    body: dict[str, Any] = json.loads(posts[0].content)
    return body


def test_deploy_returns_the_endpoint(server: Any, model: Path) -> None:
    endpoint = deploy([(model_type.XGBOOST_CLASSIFIER, model, post)], "flow", KEY)
    assert isinstance(endpoint, Endpoint)
    assert (endpoint, endpoint.version) == (URL, 3)


def test_one_stage_alone_and_a_path_as_text_are_a_flow(server: Any, model: Path) -> None:
    assert deploy((model_type.XGBOOST_CLASSIFIER, str(model)), "flow", quiet=True) == URL


def test_every_blob_is_sent_under_its_hash_and_known_ones_are_not_sent_again(
    server: Any, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = [(model_type.XGBOOST_CLASSIFIER, model, {"post": post})]
    deploy(flow, "flow", KEY)
    assert all(hashlib.sha256(v).hexdigest() == k for k, v in server.stored.items())
    assert model.read_bytes() in server.stored.values()
    before = sum(route.startswith("PUT") for route in server.routes())
    assert before == len(server.stored)
    capsys.readouterr()
    deploy(flow, "flow", KEY)
    assert sum(route.startswith("PUT") for route in server.routes()) == before
    assert f"Uploaded 0 files (0 B), {before} (" in capsys.readouterr().out


def test_settings_go_with_the_version(server: Any, model: Path) -> None:
    deploy(
        (model_type.XGBOOST_CLASSIFIER, model),
        "flow",
        replicas=2,
        timeout_s=5,
        max_batch=1,
        threads=3,
        max_queue=9,
        memory_limit=1 << 30,
        concurrency=8,
        min_replicas=0,
        cooldown=5,
        activate=False,
        requirements=["numpy>=1"],
    )
    body = sent(server)
    assert body["settings"] == {
        "replicas": 2,
        "timeout_s": 5,
        "max_batch": 1,
        "max_queue": 9,
        "threads": 3,
        "memory_limit_bytes": 1 << 30,
        "concurrency": 8,
        "auto_rollback": True,
        "loggers": [],
        "network": "all",
        "hardware": "auto",
        "gpu": 1,
        "secrets": [],
    }
    assert body["scaling"] == {"min_replicas": 0, "cooldown_s": 5}
    assert body["activate"] is False
    assert body["manifest"]["requirements"] == ["numpy>=1"]


def test_every_step_is_printed_once_and_the_endpoint_last(
    server: Any, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(
        [(model_type.XGBOOST_CLASSIFIER, model, post)],
        "flow",
        KEY,
        example=[[1.5]],
        check_locally=False,
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"• Server {SERVER}, project p"
    assert lines[1] == "• Stage 1: xgboost_classifier xgb.json (2 B)"
    assert "post of stage 1 (post)" in lines[2]
    assert any(line.startswith("• Uploaded 4 files (") for line in lines)
    assert lines[-4:-2] == [
        "• Loading the version in a worker.",
        "    hello from the worker",
    ]
    assert lines[-2] == f"🌍 Endpoint: {URL}"
    assert lines[-1] == (
        f'curl {URL} -H "Authorization: $PENSTOCK_API_KEY" '
        "-H 'Content-Type: application/json' -d '[[1.5]]'"
    )
    assert not any(KEY in line for line in lines)


def test_the_curl_line_of_a_flow_with_files_sends_files(
    server: Any, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "it's.png"
    picture.write_bytes(b"p")

    def pre(data: Any, files: Any) -> Any:
        return data, files

    stage = (model_type.XGBOOST_CLASSIFIER, model, {"pre": pre})
    deploy([stage], "flow", example=["a"], example_files=[picture], check_locally=False)
    curl = capsys.readouterr().out.splitlines()[-1]
    assert "-F 'data=[\"a\"]' -F 'files=@" in curl
    assert "it'\"'\"'s.png" in curl


@pytest.mark.parametrize(
    ("example", "shown"),
    [
        ([[1.5, 2.5]] * 100, "[[1.5,2.5]]"),
        ({"text": "word " * 100}, "[]"),
        ([["word " * 100]], "[]"),
        (None, "[]"),
    ],
)
def test_of_a_long_example_the_curl_line_has_the_first_data_point(
    server: Any, model: Path, capsys: pytest.CaptureFixture[str], example: Any, shown: str
) -> None:
    stage = (model_type.XGBOOST_CLASSIFIER, model)
    deploy([stage], "flow", example=example, check_locally=False)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"-d '{shown}'")


def test_quiet_prints_nothing(server: Any, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", quiet=True)
    assert capsys.readouterr().out == ""


def test_a_failed_version_raises_its_reason_with_the_workers_last_lines(
    server: Any, model: Path
) -> None:
    error = LoadFailed("Stage 1: xgb.json cannot be loaded.", stage=1, type="ValueError")
    server.events(
        "POST /v1/p/flow/versions",
        {"event": "step", "name": "loading", "message": "Loading."},
        {"event": "failed", "error": error.to_dict(), "logs": [f"line {i}" for i in range(30)]},
    )
    with pytest.raises(LoadFailed) as caught:
        deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", KEY)
    assert (caught.value.stage, caught.value.type) == (1, "ValueError")
    text = str(caught.value).splitlines()
    assert text[0] == "Stage 1: xgb.json cannot be loaded."
    assert text[1] == "The last lines it printed:"
    assert text[2:] == [f"  | line {i}" for i in range(10, 30)]


def test_a_report_that_ends_early_is_an_error(server: Any, model: Path) -> None:
    server.events("POST /v1/p/flow/versions", {"event": "step", "name": "a", "message": "b"})
    with pytest.raises(UnexpectedAnswer, match="before it said whether the version is ready"):
        deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", KEY)


def test_what_the_server_lacks_is_found_before_anything_is_sent(server: Any, model: Path) -> None:
    environment = msgspec.to_builtins(describe())
    environment["modules"] = [m for m in environment["modules"] if m != "httpx2"]
    server.on("GET /v1/environment", environment)

    def needs_it(result: Any) -> Any:
        import httpx2 as library

        return library, result

    with pytest.raises(MissingImports, match="httpx2"):
        deploy([(model_type.XGBOOST_CLASSIFIER, model, needs_it)], "flow", KEY)
    assert server.routes() == ["GET /v1/whoami", "GET /v1/environment"]


def test_a_reserved_word_is_refused_before_anything_is_sent(server: Any, model: Path) -> None:
    with pytest.raises(InvalidName, match="reserved word"):
        deploy((model_type.XGBOOST_CLASSIFIER, model), "traffic", KEY)
    assert server.stored == {}


def test_a_deployment_that_had_the_word_before_gets_a_new_version(server: Any, model: Path) -> None:
    server.on("GET /v1/p/traffic/versions", {"versions": []})
    server.events(
        "POST /v1/p/traffic/versions",
        {"event": "ready", "version": {"number": 2}, "endpoint": URL},
    )
    assert deploy((model_type.XGBOOST_CLASSIFIER, model), "traffic", KEY).version == 2


def test_an_environment_in_another_form_is_refused(server: Any, model: Path) -> None:
    server.on("GET /v1/environment", {"python": "3.99"})
    with pytest.raises(UnexpectedAnswer, match="environment in another form"):
        deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", KEY)


def test_without_a_key_nothing_is_asked(
    server: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PENSTOCK_API_KEY")
    with pytest.raises(NoKey):
        deploy((model_type.XGBOOST_CLASSIFIER, model), "flow")
    assert server.asked == []


def test_an_admin_key_deploys_to_the_only_project_or_asks_which(server: Any, model: Path) -> None:
    server.on("GET /v1/whoami", {"project": None, "scope": "admin", "key_id": "k", "label": ""})
    server.on("GET /v1/projects", {"projects": [{"name": "p", "created_at": 1.0}]})
    assert deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", KEY, quiet=True) == URL
    projects = [{"name": "p", "created_at": 1.0}, {"name": "q", "created_at": 1.0}]
    server.on("GET /v1/projects", {"projects": projects})
    with pytest.raises(InvalidSetting, match=r"p, q.*project="):
        deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", KEY, quiet=True)
    found = deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", KEY, project="p", quiet=True)
    assert found == URL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("flow", [()], KEY), "The flow is the str 'flow'"),
        ((Endpoint(URL), "name", KEY), "The flow is the Endpoint"),
        ((deploy, "name", KEY), "The flow is a function"),
        (([(model_type.TORCH, "m.pt")], KEY.encode()), "The name is a bytes"),
        (([(model_type.TORCH, "m.pt")], "name", 5), "The API key is a int"),
    ],
)
def test_mixed_up_arguments_are_a_type_error_that_shows_the_order(
    arguments: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(TypeError) as caught:
        deploy(*arguments)
    assert isinstance(caught.value, InvalidCall)
    assert said in str(caught.value)
    assert "deploy(flow, name, api_key)" in str(caught.value)


def test_a_flow_inside_a_flow_is_a_type_error_that_shows_a_stage(model: Path) -> None:
    with pytest.raises(InvalidStage, match=r"a stage is \(model_type, path\)"):
        deploy([[(model_type.SKLEARN, model)]], "name", KEY)


def test_the_example_is_compared_before_the_version_serves(
    server: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"result": [0.5], "run_id": "r", "run_time_ms": 1.0, "prediction_ids": []}
    monkeypatch.setattr(publish_module, "expected_answer", lambda *_a, **_k: (True, [0.500001]))
    server.on("POST /v1/p/flow/versions/3/predict", answer)
    server.on("POST /v1/p/flow/versions/3/activate", {})
    flow = [(model_type.XGBOOST_CLASSIFIER, model)]
    deploy(flow, "flow", KEY, example=[[1]], check_locally=True, quiet=True)
    assert sent(server)["activate"] is False
    assert server.routes()[-2:] == [
        "POST /v1/p/flow/versions/3/predict",
        "POST /v1/p/flow/versions/3/activate",
    ]


def test_another_answer_than_here_is_refused_and_the_version_does_not_serve(
    server: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"result": [0.9], "run_id": "r", "run_time_ms": 1.0, "prediction_ids": []}
    monkeypatch.setattr(publish_module, "expected_answer", lambda *_a, **_k: (True, [0.5]))
    server.on("POST /v1/p/flow/versions/3/predict", answer)
    flow = [(model_type.XGBOOST_CLASSIFIER, model)]
    with pytest.raises(ExampleFailed, match=r"result\[0\]: 0.5 here, 0.9 on the server"):
        deploy(flow, "flow", KEY, example=[[1]], check_locally=True, quiet=True)
    assert not any(route.endswith("activate") for route in server.routes())


def test_a_library_that_is_not_imported_yet_is_not_imported_for_the_check(
    server: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.client.publish.frameworks_in_use", lambda _flow: False)
    deploy((model_type.XGBOOST_CLASSIFIER, model), "flow", KEY, example=[[1]], quiet=True)
    assert sent(server)["activate"] is True


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ([1.0, {"a": [2]}], [1.00001, {"a": [2]}], None),
        ([1.0], [1.01], "result[0]: 1.0 here, 1.01 on the server"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, "result['a']['b']: 'x' here, 'y' on the server"),
        ([1], [1, 2], "result: [1] here, [1, 2] on the server"),
        ({"a": 1}, {"b": 1}, "result: {'a': 1} here, {'b': 1} on the server"),
        ([True], [1], "result[0]: True here, 1 on the server"),
        ([None], [None], None),
        ([0.0], [1e-9], None),
    ],
)
def test_differences_are_named_by_path(here: Any, there: Any, said: str | None) -> None:
    assert difference(here, there) == said


def test_a_request_returns_status_and_body_whatever_the_status(table: Any) -> None:
    table.on("POST /v1/p/flow/predict", {"result": ["ok"]})
    assert model_api_request(URL, {"prompt": "hi"}, KEY) == {
        "status_code": 200,
        "data": {"result": ["ok"]},
    }
    assert table.asked[0].content == b'{"prompt":"hi"}'
    table.on("POST /v1/p/flow/predict", {"error": {"code": "x", "message": "m"}}, 500)
    assert model_api_request(Endpoint(URL), [1], KEY) == {
        "status_code": 500,
        "data": {"error": {"code": "x", "message": "m"}},
    }


def test_a_request_with_a_body_that_is_not_json_describes_it(table: Any) -> None:
    table.on("POST /v1/p/flow/predict", b"<html>Bad gateway</html>", 502)
    found = model_api_request(URL, [1], KEY)
    assert found["status_code"] == 502
    assert found["data"]["error"]["code"] == "unexpected_answer"
    assert "Bad gateway" in found["data"]["error"]["message"]


def test_a_request_sends_files_by_path_and_arrays_as_lists(table: Any, tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    (tmp_path / "a.bin").write_bytes(b"AAA")
    table.on("POST /v1/p/flow/predict", {"result": []})
    model_api_request(URL, np.ones((1, 2)), KEY, files=[str(tmp_path / "a.bin")])
    assert b"AAA" in table.asked[0].content
    assert b"[[1.0,1.0]]" in table.asked[0].content
