"""Finding a loader imports no framework; a missing one is named with what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders.registry import PRELOAD

FRAMEWORKS = {"numpy", "torch", "xgboost", "sklearn", "onnxruntime"}


def test_every_model_type_says_what_to_import_ahead():
    assert set(PRELOAD) == set(ModelType)
    needed = {kind for kind, modules in PRELOAD.items() if modules}
    assert needed == set(ModelType) - {ModelType.PYTHON}
    assert all(PRELOAD[kind][0] == "numpy" for kind in needed)


def test_the_registry_imports_no_framework():
    code = "import sys, penstock.loaders.registry, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    assert not FRAMEWORKS & set(__import__("json").loads(done.stdout))


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [
        (ModelType.TORCH, "torch", "torch"),
        (ModelType.XGBOOST_CLASSIFIER, "xgboost", "xgboost"),
        (ModelType.SKLEARN, "sklearn", "sklearn"),
        (ModelType.ONNX, "onnxruntime", "onnx"),
    ],
)
def test_a_missing_framework_says_what_to_install(tmp_path, load, monkeypatch, kind, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "model.pkl"
    path.write_bytes(b"")
    with pytest.raises(LoadFailed, match=f"needs the module '{module}'") as caught:
        load(path, kind)
    assert f'pip install "penstock[{extra}]"' in caught.value.hint
