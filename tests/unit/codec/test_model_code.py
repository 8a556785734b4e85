"""Whether loading a model can run code is told from its files, as its loader would read them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from penstock.codec.model_code import code_in_file, code_in_folder

PICKLE = pickle.dumps({"a": 1})


def in_file(kind: str, name: str, content: bytes, tmp_path: Path, weights: bool = False) -> str:
    path = tmp_path / "stored-under-its-hash"
    path.write_bytes(content)
    return code_in_file(kind, name, path, weights)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("xgboost_classifier", "m.json"), ("xgboost_regressor", "m.UBJ"), ("lightgbm", "m.txt"),
        ("catboost", "m.cbm"), ("sklearn", "m.skops"), ("skops", "m.skops"), ("onnx", "m.onnx"),
        ("keras", "m.keras"), ("safetensors", "m.safetensors"),
    ],
)  # fmt: skip
def test_what_a_loader_reads_as_data_runs_no_code(kind: str, name: str, tmp_path: Path) -> None:
    assert in_file(kind, name, PICKLE, tmp_path) == ""


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("xgboost_classifier", "m.pkl"), ("lightgbm", "m.joblib"), ("catboost", "m.pkl"),
        ("sklearn", "m.json"), ("sklearn_classifier", "m"), ("sklearn_preprocessor", "m.joblib"),
        ("torch", "m.pt"), ("torch", "m.safetensors"),
    ],
)  # fmt: skip
def test_what_a_loader_unpickles_may_run_code(kind: str, name: str, tmp_path: Path) -> None:
    assert in_file(kind, name, PICKLE, tmp_path) == "it is a pickle"


def archive(path: Path, *members: str) -> bytes:
    with zipfile.ZipFile(path, "w") as made:
        for member in members:
            made.writestr(member, b"x")
    return path.read_bytes()


def test_archives_of_torch_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    place = tmp_path / "made.zip"
    script = archive(place, "m/data.pkl", "m/code/net.py", "m/constants.pkl")
    saved = archive(place, "m/data.pkl", "m/data/0")
    exported = archive(place, "m/models/model.json", "m/data/weights/weight_0")
    assert in_file("torch", "m.pt", script, tmp_path) == ""
    assert in_file("torch", "m.pt", saved, tmp_path) == "it is a pickle"
    assert in_file("torch", "m.pt", saved, tmp_path, weights=True) == ""
    assert "torch.export" in in_file("torch", "m.pt2", exported, tmp_path)


def test_a_type_that_a_package_adds_counts_as_code(tmp_path: Path) -> None:
    assert "a package adds" in in_file("nearest", "m.npz", b"", tmp_path)


def test_a_folder_runs_code_if_a_file_in_it_does(tmp_path: Path) -> None:
    def folder(kind: str, **files: bytes) -> str:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return code_in_folder(kind, [(f"deep/{name}", tmp_path / name) for name in files])

    plain = {"config": b"{}", "lookups": b"\x80", "weights": bytes(10)}
    assert folder("pipeline", **plain) == ""
    assert folder("pipeline", **plain, hidden=PICKLE) == "deep/hidden is a pickle"
    assert folder("mlflow", **plain) == "MLFLOW folders are programs"
    source = tmp_path / "layer.py"
    source.touch()
    assert code_in_folder("pipeline", [("a/layer.py", source)]) == "a/layer.py is code"
