"""A worker has the threads and the memory its deployment may use; tried in a real process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest


def in_process(program: str, **environment: str) -> Any:
    """Run `program` in a new interpreter and return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


LOAD = """
    import json, os
    from penstock.codec.worker_messages import (Load)
    from penstock.core.memory_limit import memory_hint
    from penstock.engine.local import resources
    def load(**more):
        return Load("shop", "flow", 1, b"", {}, "", max_batch=1, **{"threads": 1, **more})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_an_allocation_beyond_the_limit_fails_and_names_limit_and_deployment() -> None:
    found = in_process(
        LOAD
        + """
    resources.apply(load(memory_limit_bytes=64 << 20))
    kept = bytearray(48 << 20)
    try:
        bytearray(1 << 30)
    except MemoryError as error:
        print(json.dumps([len(kept), memory_hint(error)]))
    """
    )
    size, hint = found
    assert size == 48 << 20
    assert hint.startswith("shop/flow may take 64 MiB of memory in one worker")


def test_without_a_limit_nothing_is_limited() -> None:
    found = in_process(
        LOAD
        + """
    import resource
    resources.apply(load())
    print(json.dumps([resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY,
                      memory_hint(ValueError("x")), memory_hint(MemoryError())]))
    """
    )
    assert found[:2] == [True, None]
    assert "no more memory" in found[2]


def test_torch_openmp_and_blas_get_the_threads_of_the_version() -> None:
    found = in_process(
        LOAD
        + """
    import numpy, torch
    resources.apply(load(threads=2))
    from threadpoolctl import threadpool_info
    pools = {p["user_api"]: p["num_threads"] for p in threadpool_info()}
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    print(json.dumps([torch.get_num_threads(), [os.environ[n] for n in names], pools]))
    """
    )
    assert found[0] == 2
    assert found[1] == ["2", "2", "2"]
    assert found[2]["openmp"] == 2


def test_a_worker_sees_the_devices_it_was_given_and_no_others() -> None:
    found = in_process(
        LOAD
        + """
    resources.apply(load())
    none = os.environ["CUDA_VISIBLE_DEVICES"]
    resources.apply(load(devices="1,3"))
    print(json.dumps([none, os.environ["CUDA_VISIBLE_DEVICES"]]))
    """
    )
    assert found == ["", "1,3"]


def test_a_loader_without_a_gpu_stays_on_the_cpu() -> None:
    found = in_process(
        """
    import json, sys
    from penstock.loaders import device
    before = [device.torch_device(), device.xgboost_device(), device.onnx_providers()]
    unread = "torch" not in sys.modules
    device.use("0")
    after = [device.torch_device(), device.xgboost_device(), device.onnx_providers()]
    print(json.dumps([before, unread, after]))
    """,
        CUDA_VISIBLE_DEVICES="",
    )
    cpu = ["cpu", "cpu", ["CPUExecutionProvider"]]
    assert found == [cpu, True, cpu]
