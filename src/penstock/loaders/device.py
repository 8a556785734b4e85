"""Which device this process puts its models on. Set once, before anything is loaded.

Loaders ask `torch_device`, `xgboost_device` or `onnx_providers`; a framework that was built without
GPU support stays on the CPU. Nothing here opens a GPU before a loader asks.
"""

from __future__ import annotations

from typing import Any

#: Model types that are put on a GPU, where there is one, when nobody says.
GPU_TYPES = frozenset({"torch", "onnx", "hf_pipeline", "keras", "safetensors"})

_devices: list[str] = [""]


def use(devices: str) -> None:
    """Put models on the GPUs in `devices` (as `CUDA_VISIBLE_DEVICES`); none if it is empty."""
    _devices[0] = devices


def torch_device() -> str:
    """Return `"cuda"` if this process has a GPU and torch can use it, else `"cpu"`."""
    if not _devices[0]:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def xgboost_device() -> str:
    """Return `"cuda"` if this process has a GPU and xgboost can use it, else `"cpu"`."""
    if not _devices[0]:
        return "cpu"
    import xgboost

    return "cuda" if xgboost.build_info().get("USE_CUDA") else "cpu"


def onnx_providers() -> list[Any]:
    """Return the execution providers for a session, the preferred one first."""
    if not _devices[0]:
        return ["CPUExecutionProvider"]
    import onnxruntime

    known = onnxruntime.get_available_providers()
    wanted = [name for name in ("CUDAExecutionProvider",) if name in known]
    return [*wanted, "CPUExecutionProvider"]
