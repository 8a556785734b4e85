"""`Endpoint`: a URL that can be called, that forgets its key, and that rolls back."""

from __future__ import annotations

import copy
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from penstock.client.endpoint import Answer, Endpoint, read_server_timing
from penstock.core.errors import Conflict, FunctionFailed, InvalidCall, UnexpectedAnswer

KEY = "pk_d_0123abcd_0123456789abcdef0123456789abcdef"
URL = "http://penstock.test:8700/v1/p/flow/predict"
GOOD = {"result": [1], "run_id": "r-1", "run_time_ms": 1.5, "prediction_ids": ["r-1-0"]}


def version(number: int, state: str = "ready", active: bool = False) -> dict[str, Any]:
    return {
        "number": number,
        "state": state,
        "active": active,
        "created_at": 1.0,
        "created_by": "k",
        "size_bytes": 5,
        "settings": {},
    }


def test_an_endpoint_is_its_url() -> None:
    endpoint = Endpoint(URL, KEY, version=3)
    assert isinstance(endpoint, str)
    assert endpoint == URL
    assert f"{endpoint}" == str(endpoint) == URL
    assert type(endpoint.url) is str
    assert json.loads(json.dumps({"endpoint": endpoint})) == {"endpoint": URL}
    assert (endpoint.project, endpoint.name, endpoint.version) == ("p", "flow", 3)


@pytest.mark.parametrize("text", ["", "http://x", "http://x/v1/p/n", "p/n"])
def test_what_is_no_endpoints_url_is_refused(text: str) -> None:
    with pytest.raises(InvalidCall, match="not the URL of an endpoint"):
        Endpoint(text)


def test_an_endpoint_below_a_path_of_a_proxy_is_understood() -> None:
    assert Endpoint("https://host/models/v1/p/n/predict").name == "n"


def test_no_text_form_and_no_pickle_holds_the_key() -> None:
    endpoint = Endpoint(URL, KEY, version=2)
    assert repr(endpoint) == f"Endpoint({URL!r}, version=2)"
    assert KEY.encode() not in pickle.dumps(endpoint)
    back = pickle.loads(pickle.dumps(endpoint))
    assert (back, back.version, type(back)) == (URL, 2, Endpoint)
    assert copy.deepcopy(endpoint) is endpoint


def test_an_endpoint_from_a_pickle_finds_its_key_again(table: Any) -> None:
    table.on("POST /v1/p/flow/predict", GOOD)
    back = pickle.loads(pickle.dumps(Endpoint(URL, "another-key")))
    assert back.predict([1]) == [1]
    assert table.asked[0].headers["Authorization"] == KEY


def test_predict_returns_the_result_and_call_the_whole_answer(table: Any) -> None:
    table.on("POST /v1/p/flow/predict", GOOD, Server_Timing="queue;dur=0.5, model;dur=2")
    endpoint = Endpoint(URL, KEY)
    assert endpoint.predict([[1, 2]]) == [1]
    assert endpoint.call([[1, 2]]) == Answer(
        [1], "r-1", 1.5, ["r-1-0"], {"queue": 0.5, "model": 2.0}
    )
    assert table.asked[0].content == b"[[1,2]]"
    assert table.asked[0].headers["Content-Type"] == "application/json"


def test_arrays_and_tensors_become_lists(table: Any) -> None:
    np = pytest.importorskip("numpy")
    table.on("POST /v1/p/flow/predict", GOOD)
    Endpoint(URL, KEY).predict({"x": np.arange(4).reshape(2, 2), "y": [np.float32(0.5)]})
    assert json.loads(table.asked[0].content) == {"x": [[0, 1], [2, 3]], "y": [0.5]}


def test_many_truths_are_sent_a_part_at_a_time(table: Any) -> None:
    table.on("POST /v1/p/flow/feedback", {"taken": 1, "unknown": ["lost"]})
    truths = {f"{number:036}-0": {"label": number} for number in range(12_000)}
    assert Endpoint(URL, KEY).feedback(truths) == ["lost"] * len(table.asked)
    assert max(len(request.content) for request in table.asked) < 300_000
    sent = [json.loads(request.content)["feedback"] for request in table.asked]
    assert {name: truth for part in sent for name, truth in part.items()} == truths
    assert 2 < len(sent) == len(table.asked)


def test_a_dict_without_data_is_sent_unchanged(table: Any) -> None:
    table.on("POST /v1/p/flow/predict", GOOD)
    Endpoint(URL, KEY).predict({"prompt": "hi", "max": 5})
    assert json.loads(table.asked[0].content) == {"prompt": "hi", "max": 5}


def test_parameters_go_beside_the_data(table: Any) -> None:
    table.on("POST /v1/p/flow/predict", GOOD)
    Endpoint(URL, KEY).predict(["a"], parameters={"k": 1})
    assert json.loads(table.asked[0].content) == {"data": ["a"], "parameters": {"k": 1}}


def test_files_are_paths_bytes_file_objects_or_named_bytes(table: Any, tmp_path: Path) -> None:
    table.on("POST /v1/p/flow/predict", GOOD)
    (tmp_path / "a.png").write_bytes(b"AAA")
    (tmp_path / "b.png").write_bytes(b"BBB")
    files = [
        str(tmp_path / "a.png"),
        tmp_path / "b.png",
        b"CCC",
        io.BytesIO(b"DDD"),
        ("e.bin", b"EEE"),
        ("f.jpg", b"FFF", "image/jpeg"),
    ]
    Endpoint(URL, KEY).predict(["a"] * 6, files=files)
    body = table.asked[0].content
    places = [body.index(part) for part in (b"AAA", b"BBB", b"CCC", b"DDD", b"EEE", b"FFF")]
    assert places == sorted(places)
    for part in (b'filename="a.png"', b'filename="e.bin"', b"image/jpeg", b'name="data"'):
        assert part in body
    assert int(table.asked[0].headers["Content-Length"]) == len(body)


def test_an_error_is_raised_with_the_run_it_belongs_to(table: Any) -> None:
    error = FunctionFailed("pre of stage 1 raised KeyError.", stage=1, function="pre")
    table.on("POST /v1/p/flow/predict", {"error": error.to_dict(), "run_id": "r-9"}, 500)
    with pytest.raises(FunctionFailed, match="pre of stage 1") as caught:
        Endpoint(URL, KEY).predict([1])
    assert caught.value.facts["run_id"] == "r-9"


@pytest.mark.parametrize("body", [[], {"resul": 1}])
def test_an_answer_without_a_result_is_refused(table: Any, body: Any) -> None:
    table.on("POST /v1/p/flow/predict", body)
    with pytest.raises(UnexpectedAnswer, match="no result"):
        Endpoint(URL, KEY).predict([1])


def test_the_client_waits_a_little_longer_than_the_server(table: Any) -> None:
    table.on("POST /v1/p/flow/predict", GOOD)
    Endpoint(URL, KEY, timeout_s=300).predict([1])
    Endpoint(URL, KEY).predict([1])
    Endpoint(URL, KEY).predict([1], timeout_s=2)
    waits = [request.extensions["timeout"]["read"] for request in table.asked]
    assert waits == [315.0, 195.0, 2]


def test_versions_are_listed_as_the_server_lists_them(table: Any) -> None:
    table.on("GET /v1/p/flow", {"versions": [version(2, active=True), version(1)]})
    found = Endpoint(URL, KEY).versions()
    assert [(v.number, v.state, v.active) for v in found] == [
        (2, "ready", True),
        (1, "ready", False),
    ]


def test_activate_lets_another_version_serve(table: Any) -> None:
    table.on("POST /v1/p/flow/versions/4/activate", version(4, active=True))
    endpoint = Endpoint(URL, KEY, version=5)
    endpoint.activate(4)
    assert endpoint.version == 4


def test_rollback_takes_the_newest_ready_version_before_the_active_one(table: Any) -> None:
    versions = [
        version(5),
        version(4, active=True),
        version(3, "failed"),
        version(2),
        version(1),
    ]
    table.on("GET /v1/p/flow", {"versions": versions})
    table.on("POST /v1/p/flow/versions/2/activate", version(2, active=True))
    assert Endpoint(URL, KEY).rollback() == 2


def test_rollback_without_an_older_ready_version_is_refused(table: Any) -> None:
    versions = [version(2, active=True), version(1, "failed")]
    table.on("GET /v1/p/flow", {"versions": versions})
    with pytest.raises(Conflict, match="no ready version before version 2"):
        Endpoint(URL, KEY).rollback()


def test_delete_deletes_the_deployment(table: Any) -> None:
    table.on("DELETE /v1/p/flow", b"", 204)
    Endpoint(URL, KEY).delete()
    assert table.routes() == ["DELETE /v1/p/flow"]


def test_one_version_can_be_called_by_number(table: Any) -> None:
    table.on("POST /v1/p/flow/versions/7/predict", GOOD)
    assert Endpoint(URL, KEY).call_version(7, [1]).result == [1]


def test_server_timing_is_read_by_name() -> None:
    header = 'queue;dur=1, pre;desc="stage 1";dur=2, pre;dur=3.5, odd;dur=x, plain'
    assert read_server_timing(header) == {"queue": 1.0, "pre": 5.5}
    assert read_server_timing("") == {}
