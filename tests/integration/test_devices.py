"""Replicas are put on GPUs one by one; the GPUs here are names, so the models stay on the CPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import penstock

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, launch_server: Callable[..., Any]
) -> Iterator[Any]:
    """A server that believes in two GPUs."""
    live = launch_server(tmp_path_factory.mktemp("gpus") / "data", {"PENSTOCK_GPUS": "0,1"})
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that doubles its input."""
    import cloudpickle
    import torch

    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    path = tmp_path_factory.mktemp("net") / "double.pkl"
    path.write_bytes(cloudpickle.dumps(layer))
    return path


def post(result):
    import os

    return [float(result[0][0]), os.environ["CUDA_VISIBLE_DEVICES"]]


def deploy(machine: Any, net: Path, name: str, **options: Any) -> penstock.Endpoint:
    return penstock.deploy(
        [(penstock.model_type.TORCH, net, {"post": post})],
        name,
        machine.keys["deploy"],
        server=machine.url,
        quiet=True,
        **options,
    )


def shown(machine: Any, name: str) -> dict[str, Any]:
    answer = httpx2.get(
        f"{machine.url}/v1/default/{name}", headers={"Authorization": machine.keys["deploy"]}
    )
    return dict(answer.json())


def ready(machine: Any, name: str, count: int) -> dict[str, Any]:
    """Return the deployment once it has that many replicas ready."""
    end = time.monotonic() + DEADLINE_S
    wait = threading.Event()
    while True:
        found = shown(machine, name)
        if sum(r["state"] == "ready" for r in found["replicas"]) == count:
            return found
        assert time.monotonic() < end, found
        wait.wait(0.05)


def test_each_replica_is_on_a_gpu_of_its_own_and_there_are_no_more_than_gpus(
    machine: Any, net: Path
) -> None:
    deploy(machine, net, "wide", replicas=3)
    found = ready(machine, "wide", 2)
    devices = [replica["facts"]["devices"] for replica in found["replicas"]]
    assert sorted(devices) == [["0"], ["1"]]
    assert found["scaling"]["hardware"] == "GPU"
    assert found["scaling"]["wanted"] == 2
    assert found["scaling"]["template"] == {}  # nothing is forked from a process with a GPU


def test_a_model_in_a_branch_gets_a_gpu_too(machine: Any, net: Path) -> None:
    branches = penstock.parallel({"a": (penstock.model_type.TORCH, net)}, "mean")
    penstock.deploy(
        [branches], "branch", machine.keys["deploy"], server=machine.url, quiet=True
    ).predict([[1]])
    assert shown(machine, "branch")["scaling"]["hardware"] == "GPU"


def test_a_replica_may_have_several_gpus(machine: Any, net: Path) -> None:
    endpoint = deploy(machine, net, "both", gpu=2, hardware="AMPERE_A100")
    [replica] = ready(machine, "both", 1)["replicas"]
    assert sorted(replica["facts"]["devices"]) == ["0", "1"]
    value, visible = endpoint.predict([[4]])
    assert (value, sorted(visible.split(","))) == (8.0, ["0", "1"])


def test_a_deployment_on_the_cpu_sees_no_gpu(machine: Any, net: Path) -> None:
    endpoint = deploy(machine, net, "plain", hardware=penstock.hardware.CPU)
    assert endpoint.predict([[3]]) == [6.0, ""]
    assert shown(machine, "plain")["scaling"]["hardware"] == "CPU"


def test_a_replica_that_dies_comes_back_on_its_device(machine: Any, net: Path) -> None:
    import os
    import signal

    deploy(machine, net, "again", replicas=2)
    before = ready(machine, "again", 2)["replicas"]
    os.kill(before[0]["pid"], signal.SIGKILL)
    end = time.monotonic() + DEADLINE_S
    wait = threading.Event()
    while before[0]["pid"] in {r["pid"] for r in shown(machine, "again")["replicas"]}:
        assert time.monotonic() < end
        wait.wait(0.05)
    after = ready(machine, "again", 2)["replicas"]
    assert sorted(r["facts"]["devices"] for r in after) == [["0"], ["1"]]
