"""`penstock.start()` where it cannot start anything, and local runs without their library."""

from __future__ import annotations

from pathlib import Path

import pytest

import penstock
from penstock.client import local
from penstock.client import start as start_module
from penstock.core.errors import ClientError, MissingFramework
from penstock.core.flow import ModelType


def test_without_the_servers_libraries_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENSTOCK_SERVER", "http://127.0.0.1:9")
    monkeypatch.setattr(start_module, "_SERVER_MODULES", ("no_such_library_here",))
    with pytest.raises(ClientError) as caught:
        penstock.start()
    assert "not installed: no_such_library_here" in str(caught.value)
    assert 'pip install "penstock[server]"' in str(caught.value)


def test_a_local_run_without_the_models_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(local._NEEDS, ModelType.ONNX, ("no_such_library_here", "onnx"))
    (tmp_path / "m.onnx").write_bytes(b"")
    conduit = penstock.Conduit("a", None, [(ModelType.ONNX, tmp_path / "m.onnx")])
    with pytest.raises(MissingFramework) as caught:
        conduit.load()
    assert isinstance(caught.value, ImportError)
    assert "Stage 1 (ONNX) needs no_such_library_here" in str(caught.value)
    assert 'pip install "penstock[onnx]"' in str(caught.value)
