"""Sleep, wake and limits on a real server with real workers, before and after a restart."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock import Endpoint, deploy, model_type
from penstock.core.errors import InvalidSetting

Start = Callable[..., Any]

#: Deployments that sleep in one test; `benchmarks/sleeping.py` takes 200.
SLEEPING = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaler that leaves its input as it is."""
    import joblib
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((2, 1)))
    path = tmp_path_factory.mktemp("model") / "same.joblib"
    joblib.dump(scaler, path)
    return path


def put(server: Any, model: Path, name: str, **options: Any) -> Endpoint:
    stage = (model_type.SKLEARN_PREPROCESSOR, model)
    return deploy([stage], name, server.keys["deploy"], server=server.url, quiet=True, **options)


def get(server: Any, path: str, key: str = "") -> Any:
    headers = {"Authorization": key or server.keys["deploy"]}
    return httpx2.get(server.url + path, headers=headers).json()


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_limits_are_the_deployments_and_hold_for_its_next_version(server: Any, model: Path) -> None:
    endpoint = put(server, model, "limits", min_replicas=2, max_replicas=3)
    path = "/v1/default/limits"
    wait_until(lambda: len(get(server, path)["replicas"]) == 2)
    put(server, model, "limits")
    wait_until(lambda: len(get(server, path)["replicas"]) == 2)
    endpoint.scale(min_replicas=1, max_replicas=1)
    wait_until(lambda: len(get(server, path)["replicas"]) == 1)
    found = get(server, path)
    assert found["active"] == 2
    assert found["scaling"]["wanted"] == 1
    assert found["scaling"]["template"]["pid"] > 0
    with pytest.raises(InvalidSetting, match="max_replicas is 0"):
        endpoint.scale(max_replicas=0)
    put(server, model, "limits", replicas=2)
    scaling = get(server, path)["scaling"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (2, 2)


def test_sleeping_deployments_have_no_process_and_each_answers_when_called(
    start_server: Start, model: Path
) -> None:
    live = start_server()
    names = [f"sleep-{number}" for number in range(SLEEPING)]
    for name in names:
        put(live, model, name, min_replicas=0, cooldown=0.1)
    wait_until(lambda: {d["state"] for d in _listed(live)} == {"cold"})
    live.kill()
    again = start_server(data=live.data)
    key = live.keys["deploy"]

    def call(name: str) -> Any:
        endpoint = Endpoint(f"{again.url}/v1/default/{name}/predict", key)
        return endpoint.predict([[float(name.split("-")[1])]])

    wait_until(lambda: {d["state"] for d in _listed(again, key)} == {"cold"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, names))
    assert answers == [[[float(number)]] for number in range(SLEEPING)]
    wait_until(lambda: {d["state"] for d in _listed(again, key)} == {"cold"})


def _listed(server: Any, key: str = "") -> list[Any]:
    found: list[Any] = get(server, "/v1/default", key)["deployments"]
    return found


def test_a_burst_that_wakes_a_deployment_is_held_and_answered(server: Any, model: Path) -> None:
    endpoint = put(server, model, "burst", min_replicas=0, cooldown=0.1)
    wait_until(lambda: get(server, "/v1/default/burst")["state"] == "cold")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: endpoint.predict([[float(n)]]), range(16)))
    assert answers == [[[float(n)]] for n in range(16)]
