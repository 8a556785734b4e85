"""Where models are put when a process has a GPU. No GPU is needed: stand-ins take its place.

What is sent to a device, and what comes back, is seen by a module on torch's device `meta`, which
holds shapes and no numbers; sessions and pipelines are asked what they were made with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock import Conduit, model_type
from penstock.loaders import device


@pytest.fixture
def gpu() -> Iterator[None]:
    """This process may use the GPU 0, as far as Penstock is concerned."""
    device.use("0")
    yield
    device.use("")


def test_without_a_gpu_nobody_is_asked_for_one() -> None:
    device.use("")
    assert (device.torch_device(), device.xgboost_device()) == ("cpu", "cpu")
    assert device.onnx_providers() == ["CPUExecutionProvider"]


def test_a_library_without_gpu_support_stays_on_the_cpu(gpu: None) -> None:
    import onnxruntime
    import torch
    import xgboost

    if not torch.cuda.is_available():
        assert device.torch_device() == "cpu"
    if not xgboost.build_info()["USE_CUDA"]:
        assert device.xgboost_device() == "cpu"
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert device.onnx_providers() == ["CPUExecutionProvider"]


def test_libraries_with_gpu_support_are_put_on_it(
    gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime
    import torch
    import xgboost

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": True})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    assert (device.torch_device(), device.xgboost_device()) == ("cuda", "cuda")
    assert device.onnx_providers() == both


def recorder() -> Any:
    """Return a module that answers with where it and its input are."""
    import torch

    class Recorder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: Any) -> Any:
            places = [float(t.device.type == "meta") for t in (self.weight, x)]
            return torch.tensor([places] * len(x))

    return Recorder()


def test_modules_and_their_inputs_are_on_the_device_and_answers_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cloudpickle

    monkeypatch.setattr("penstock.loaders.torch.torch_device", lambda: "meta")
    path = tmp_path / "net.pkl"
    path.write_bytes(cloudpickle.dumps(recorder()))
    seen: list[Any] = []

    def post(result: Any) -> Any:
        seen.append(result.device.type)
        return result

    conduit = Conduit("net", None, [(model_type.TORCH, path, {"post": post})])
    assert conduit.run([[1.0], [2.0]]) == [[1.0, 1.0], [1.0, 1.0]]
    assert conduit.run(np.ones((1, 1), "float32")) == [[1.0, 1.0]]
    assert seen == ["cpu", "cpu"]


def test_an_onnx_session_is_made_with_the_provider_of_the_gpu(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    rows = np.array([[1.0], [2.0]], "float32")
    path = tmp_path / "line.onnx"
    path.write_bytes(to_onnx(LinearRegression().fit(rows, rows), rows[:1]).SerializeToString())
    made, session = [], onnxruntime.InferenceSession

    def stand_in(file: str, *, sess_options: Any, providers: list[str]) -> Any:
        made.append(providers)
        return session(file, sess_options=sess_options, providers=["CPUExecutionProvider"])

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "InferenceSession", stand_in)
    found = Conduit("line", None, [(model_type.ONNX, path)], hardware="GPU").run([[3.0]])
    assert found == [[pytest.approx(3.0)]]
    assert made == [both]


def test_a_pipeline_is_made_on_the_gpu_where_this_process_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny_models

    tiny_models.text_classifier(tmp_path / "reviews")
    conduit = Conduit(
        "reviews", None, [(model_type.HUGGINGFACE_PIPELINE, str(tmp_path / "reviews"))]
    ).load()
    expected = conduit.run(["very good, it works"])
    # The name `transformers` may still be bound to what its first import put aside.
    library, made = sys.modules["transformers"], []
    pipeline = library.pipeline

    def stand_in(*, device: int, **arguments: Any) -> Any:
        made.append(device)
        return pipeline(**arguments, device=-1)

    monkeypatch.setattr(library, "pipeline", stand_in)
    for there in ("cpu", "cuda"):
        monkeypatch.setattr("penstock.loaders.transformers.torch_device", lambda at=there: at)
        assert conduit.load().run(["very good, it works"]) == expected
    assert made == [-1, 0]
