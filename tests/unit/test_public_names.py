"""The public names: complete, resolved on first use, and cheap to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import penstock
from penstock.core.errors import PenstockError
from penstock.core.flow import ModelType

PROMISED = {
    "Conduit",
    "Endpoint",
    "PenstockError",
    "PluginType",
    "Text",
    "__version__",
    "delete",
    "deploy",
    "get",
    "get_secret",
    "hardware",
    "logging_platform",
    "memory",
    "model_api_request",
    "model_type",
    "parallel",
    "run_folder",
    "save",
    "secrets",
    "start",
    "switch",
    "upload",
}

HEAVY = [
    "numpy",
    "torch",
    "sklearn",
    "xgboost",
    "onnxruntime",
    "httpx2",
    "rich",
    "cloudpickle",
    "msgspec",
    "asyncio",
]


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def test_every_promised_name_is_public() -> None:
    assert set(penstock.__all__) == PROMISED
    assert set(dir(penstock)) >= PROMISED


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(penstock, name) is getattr(penstock, name)


def test_a_star_import_brings_every_public_name() -> None:
    found = _python("from penstock import *; print(model_type.TORCH.name, callable(deploy))")
    assert found == "TORCH True"


def test_names_are_the_real_things() -> None:
    assert penstock.model_type is ModelType
    assert penstock.PenstockError is PenstockError


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'penstock' has no attribute 'deplyo'"):
        penstock.deplyo  # noqa: B018


def test_importing_the_package_imports_no_library() -> None:
    code = f"import sys, penstock; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert _python(code) == "[]"


def test_importing_the_client_imports_no_model_framework_and_no_server() -> None:
    heavy = ["numpy", "torch", "sklearn", "xgboost", "onnxruntime", "starlette", "sqlalchemy"]
    code = (
        "import sys; from penstock import Conduit, Endpoint, deploy, model_api_request, start\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    assert _python(code) == "[]"


def test_the_processing_functions_memory_is_importable_without_a_model_framework() -> None:
    heavy = ["numpy", "torch", "sklearn", "xgboost", "onnxruntime", "httpx2"]
    code = (
        "import sys; from penstock import delete, get, memory, save\n"
        f"print([m for m in {heavy!r} if m in sys.modules], save.__module__)"
    )
    assert _python(code) == "[] penstock"
