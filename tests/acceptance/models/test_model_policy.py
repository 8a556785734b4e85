"""A server may refuse models that run code when they are loaded, whatever the client says."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import skops.io
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

from penstock import PenstockError, deploy, model_type
from penstock.client.preflight import prepare
from penstock.core.flow import Flow

M = model_type
ROWS, KINDS = load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    model = LogisticRegression(max_iter=50).fit(ROWS / ROWS.max(axis=0), KINDS)
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    skops.io.dump(model, folder / "model.skops")
    return folder


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Any:
    environment = {"PENSTOCK_MODELS_WITH_CODE": "refuse"}
    live = launch_server(tmp_path_factory.mktemp("strict") / "data", environment)
    yield live
    live.kill()


def test_a_pickle_is_refused_before_it_is_sent_with_what_to_do(strict: Any, files: Path) -> None:
    with pytest.raises(PenstockError, match=r"model\.pkl\) can run code .* it is a pickle") as told:
        deploy([(M.SKLEARN, files / "model.pkl")], "no", strict.keys["deploy"], server=strict.url)
    assert told.value.code == "model_runs_code"
    assert told.value.stage == 1
    assert ".skops" in (told.value.hint or "")


def test_a_client_that_says_nothing_of_it_is_refused_all_the_same(strict: Any, files: Path) -> None:
    prepared = prepare(Flow.parse([(M.SKLEARN, files / "model.pkl")]))
    manifest = msgspec.to_builtins(prepared.manifest)
    manifest["stages"][0]["runs_code"] = False
    headers = {"Authorization": strict.keys["deploy"]}
    for sha256, content in prepared.blobs.items():
        raw = content.read_bytes() if isinstance(content, Path) else content
        url = f"{strict.url}/v1/default/blobs/{sha256}"
        assert httpx2.put(url, content=raw, headers=headers).status_code == 201
    url = f"{strict.url}/v1/default/no/versions"
    answer = httpx2.post(url, json={"manifest": manifest}, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "model_runs_code"
    assert httpx2.get(f"{strict.url}/v1/default/no", headers=headers).status_code == 404


def test_the_same_estimator_without_code_is_taken(strict: Any, files: Path) -> None:
    def best(result: Any) -> Any:
        return result.argmax(axis=1)

    flow = [(M.SKLEARN_CLASSIFIER, files / "model.skops", {"post": best})]
    endpoint = deploy(flow, "yes", strict.keys["deploy"], server=strict.url, quiet=True)
    assert len(endpoint.predict(ROWS[:3].tolist())) == 3


def test_the_environment_says_what_the_server_takes(strict: Any, server: Any) -> None:
    for live, word in ((strict, "refuse"), (server, "allow")):
        headers = {"Authorization": live.keys["deploy"]}
        answer = httpx2.get(f"{live.url}/v1/environment", headers=headers).json()
        assert answer["models_with_code"] == word
