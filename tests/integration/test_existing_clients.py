"""Clients of Triton, KServe and TorchServe call a flow without a change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest

from penstock import deploy, model_type


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regressor that adds its two features."""
    import joblib
    from sklearn.linear_model import LinearRegression

    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    path = tmp_path_factory.mktemp("model") / "sum.joblib"
    joblib.dump(LinearRegression().fit(rows, rows.sum(axis=1)), path)
    return path


def put(server: Any, model: Path, name: str, **functions: Any) -> None:
    deploy([(model_type.SKLEARN, model, functions)], name, server.keys["deploy"], server=server.url)


@pytest.fixture(scope="module")
def sums(server: Any, model: Path) -> str:
    put(server, model, "sums")
    return "sums"


@pytest.fixture(scope="module")
def named(server: Any, model: Path) -> str:
    """A flow with two inputs and two outputs."""

    def pre(data: Any) -> Any:
        import numpy

        return numpy.stack([data["a"], data["b"]], axis=1)

    def post(result: Any, data: Any) -> Any:
        return {"sum": result, "label": [f"{v:.0f}" for v in result]}

    put(server, model, "named", pre=pre, post=post)
    return "named"


@pytest.fixture(scope="module")
def triton(server: Any) -> Iterator[Any]:
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(urlsplit(server.url).netloc)
    yield client
    client.close()


@pytest.fixture
def key(server: Any) -> dict[str, str]:
    return {"Authorization": server.keys["predict"]}


def test_tritons_client_finds_server_and_model(
    triton: Any, server: Any, sums: str, key: dict[str, str]
) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(sums, headers=key)
    assert triton.is_model_ready(sums, "1", headers=key)
    assert not triton.is_model_ready("nothing", headers=key)
    assert triton.get_server_metadata()["name"] == "penstock"
    found = triton.get_model_metadata(sums, headers=key)
    assert (found["name"], found["versions"]) == (sums, ["1"])
    assert found["inputs"][0]["shape"] == [-1, 2]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("wanted_binary", [True, False, None])
def test_tritons_client_gets_the_flows_answer(
    triton: Any, sums: str, key: dict[str, str], binary: bool, wanted_binary: bool | None
) -> None:
    import tritonclient.http as http

    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    given = http.InferInput("x", rows.shape, "FP32")
    given.set_data_from_numpy(rows, binary_data=binary)
    wanted = None
    if wanted_binary is not None:
        wanted = [http.InferRequestedOutput("y", binary_data=wanted_binary)]
    answer = triton.infer(sums, [given], outputs=wanted, headers=key, request_id="mine")
    out = answer.as_numpy("y" if wanted else "output0")
    assert np.allclose(out, rows.sum(axis=1), atol=1e-5)
    assert answer.get_response()["id"] == "mine"
    assert answer.get_response()["model_name"] == sums


def test_several_inputs_are_a_dict_and_a_dicts_entries_are_outputs(
    triton: Any, named: str, key: dict[str, str]
) -> None:
    import tritonclient.http as http

    inputs = []
    for name, values in (("a", [1.0, 2.0]), ("b", [3.0, 4.0])):
        inputs.append(http.InferInput(name, [2], "FP64"))
        inputs[-1].set_data_from_numpy(np.array(values), binary_data=name == "a")
    answer = triton.infer(named, inputs, headers=key, model_version="1")
    assert np.allclose(answer.as_numpy("sum"), [4.0, 6.0])
    assert answer.as_numpy("label").tolist() == [b"4", b"6"]
    assert answer.get_response()["model_version"] == "1"


def test_an_error_is_a_text_with_the_status_of_predict(
    triton: Any, sums: str, key: dict[str, str]
) -> None:
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    given = http.InferInput("x", [1, 5], "FP32")
    given.set_data_from_numpy(np.zeros((1, 5), np.float32))
    with pytest.raises(InferenceServerException, match="2") as caught:
        triton.infer(sums, [given], headers=key)
    assert caught.value.status() == "422"
    with pytest.raises(InferenceServerException, match="API key"):
        triton.infer(sums, [given], headers={"Authorization": "nobody"})
    with pytest.raises(InferenceServerException, match="no deployment 'nothing'"):
        triton.infer("nothing", [given], headers=key)


def infer(server: Any, name: str, body: Any, **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx2.post(
        f"{server.url}/v2/models/{name}/infer",
        content=content,
        headers={"Authorization": server.keys["predict"], **headers},
    )


def test_a_json_request_gets_a_json_answer(server: Any, sums: str) -> None:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}
    answer = infer(server, sums, {"inputs": [tensor]})
    assert answer.status_code == 200
    output = answer.json()["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("output0", "FP64", [2])
    assert np.allclose(output["data"], [3.0, 7.0])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no", "not an infer request"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1]}]}, "'x'"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP99", "data": [1]}]}, "FP99"),
        (
            {
                "inputs": [
                    {
                        "name": "x",
                        "shape": [1],
                        "datatype": "FP32",
                        "parameters": {"binary_data_size": 4},
                    }
                ]
            },
            "announces 4 bytes; 0 are left",
        ),
    ],
)
def test_a_body_that_is_no_infer_request_is_refused_with_what_is_wrong(
    server: Any, sums: str, body: Any, said: str
) -> None:
    answer = infer(server, sums, body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_an_admin_key_names_the_project(server: Any, sums: str) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [[1, 2]]}
    for project, status in (("default", 200), ("elsewhere", 404)):
        answer = infer(
            server,
            sums,
            {"inputs": [tensor]},
            **{"Authorization": server.keys["admin"], "Penstock-Project": project},
        )
        assert answer.status_code == status


def test_torchserves_clients_get_the_bare_result(server: Any, model: Path, sums: str) -> None:
    def pre(_data: Any, files: Any) -> Any:
        import numpy

        return numpy.array([[len(f.read()), 1] for f in files])

    key = {"Authorization": f"Bearer {server.keys['predict']}"}
    answer = httpx2.post(f"{server.url}/predictions/{sums}", json=[[1.0, 2.0]], headers=key)
    assert answer.status_code == 200
    assert np.allclose(answer.json(), [3.0])
    put(server, model, "sizes", pre=pre)
    for send in (httpx2.post, httpx2.put):
        answer = send(f"{server.url}/predictions/sizes/1", content=b"seven..", headers=key)
        assert np.allclose(answer.json(), [8.0])
    assert httpx2.get(f"{server.url}/ping").json() == {"status": "Healthy"}
