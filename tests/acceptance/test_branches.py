"""Flows with branches and `setup` on a real server: the same answers as here, in every replica."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from penstock import Conduit, get, model_type, parallel, switch
from penstock.core.errors import LoadFailed, MissingImports


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("wine")
    x, y = load_wine(return_X_y=True)
    scaler = StandardScaler().fit(x)
    linear = LogisticRegression().fit(scaler.transform(x), y)
    trees = xgboost.XGBClassifier(n_estimators=10, max_depth=3, n_jobs=1).fit(x, y)
    (folder / "scaler.pkl").write_bytes(pickle.dumps(scaler))
    (folder / "linear.pkl").write_bytes(pickle.dumps(linear))
    trees.save_model(folder / "trees.json")

    class Wine:
        rows = x[::10]
        labels = y[::10]
        probabilities = (
            linear.predict_proba(scaler.transform(rows)) + trees.predict_proba(rows)
        ) / 2

    Wine.folder = folder  # type: ignore[attr-defined]
    return Wine


def ensemble(folder: Path) -> Any:
    return parallel(
        {
            "linear": [
                (model_type.SKLEARN_PREPROCESSOR, folder / "scaler.pkl"),
                (model_type.SKLEARN_CLASSIFIER, folder / "linear.pkl"),
            ],
            "trees": (model_type.XGBOOST_CLASSIFIER, folder / "trees.json"),
        },
        "mean",
    )


def test_an_ensemble_answers_on_the_server_as_here_and_as_its_models_do(
    put: Any, wine: Any
) -> None:
    def choose(data: Any) -> str:
        return "wine" if len(data[0]) == 13 else "echo"

    flow = [switch(choose, {"wine": [ensemble(wine.folder)], "echo": []})]
    rows = wine.rows.tolist()
    endpoint = put(flow, example=rows[:2])
    assert endpoint.predict([[1, 2]]) == [[1, 2]]
    here = Conduit("here", "key", flow).run(rows)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda row: endpoint.predict([row])[0], rows * 4))
    np.testing.assert_allclose(answers, [*here] * 4, rtol=1e-6)
    np.testing.assert_allclose(here, wine.probabilities, rtol=1e-6)


def test_the_answers_timing_names_branch_and_step(put: Any, wine: Any) -> None:
    endpoint = put([(ensemble(wine.folder), {"post": lambda r: r.argmax(axis=1)})])
    answer = endpoint.call(wine.rows.tolist())
    assert answer.result == wine.labels.tolist()
    assert list(answer.server_timing) == [
        "queue", "decode", "s1-linear-s1-model", "s1-linear-s2-model", "s1-trees-s1-model",
        "s1-combine", "s1-post", "encode",
    ]  # fmt: skip


def test_an_error_in_a_branch_names_it_over_http(put: Any, wine: Any) -> None:
    endpoint = put([ensemble(wine.folder)])
    with pytest.raises(Exception, match="stage 1 of branch 'linear' of stage 1") as caught:
        endpoint.predict([[1.0, 2.0]])
    assert caught.value.facts["branch"] == "1.linear.1"  # type: ignore[attr-defined]


def test_a_function_in_a_branch_is_looked_at_before_anything_is_sent(put: Any) -> None:
    def pre(data: Any) -> Any:
        import cv2

        return cv2.imread(data)

    with pytest.raises(MissingImports, match="stage 1 of branch 'b' of stage 1 imports `cv2`"):
        put(parallel({"a": [], "b": (model_type.PYTHON, repr, {"pre": pre})}))


@pytest.fixture
def listener() -> Iterator[Any]:
    """A TCP service that keeps every connection and counts them."""
    server = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(server.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    yield server.getsockname()[1], taken
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)
    for connection in taken:
        connection.close()


def test_setup_runs_in_each_replica_after_the_fork_and_shares_no_connection(
    put: Any, listener: Any
) -> None:
    port, taken = listener

    def setup() -> dict[str, Any]:
        return {"pid": os.getpid(), "line": socket.create_connection(("127.0.0.1", port))}

    def model(_value: Any) -> Any:
        import time

        time.sleep(0.02)  # so that both replicas are used
        return [os.getpid() == get("pid"), os.getpid(), get("line").getsockname()[1]]

    endpoint = put([(model_type.PYTHON, model, {"setup": setup})], replicas=2)
    with ThreadPoolExecutor(4) as threads:
        seen = {tuple(endpoint.predict([n])) for _ in range(20) for n in threads.map(int, "1234")}
        seen |= set(map(tuple, threads.map(lambda n: endpoint.predict([n]), range(40))))
    assert {own for own, _, _ in seen} == {True}
    assert len({pid for _, pid, _ in seen}) == 2
    assert len({line for _, _, line in seen}) == 2
    assert len(taken) == 2


def test_a_setup_that_fails_fails_the_deploy_and_names_stage_and_function(put: Any) -> None:
    def connect() -> dict[str, Any]:
        print("looking for the lookup table")
        raise FileNotFoundError("lookup.parquet")

    with pytest.raises(LoadFailed, match=r"setup of stage 1 \(connect\(\)\).*lookup.p") as caught:
        put([(model_type.PYTHON, repr, {"setup": connect})], name="set-up-fails")
    assert (caught.value.stage, caught.value.function) == (1, "setup")
    assert "looking for the lookup table" in str(caught.value)
