"""Whether loading a model can run code is told from its files, as its loader would read them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.codec.model_code import code_in_file, code_in_folder
from penstock.core.pipelines import parse_pipeline

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


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Have an installed package that adds a type, with this text as its loader's module."""

    def install(kind: str, text: str) -> None:
        site = tmp_path / f"site-{kind}"
        info = site / f"of_{kind}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: of-{kind}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[penstock.loaders]\n{kind} = of_{kind}\n")
        (site / f"of_{kind}.py").write_text(text)
        monkeypatch.syspath_prepend(str(site))

    return install


def test_the_package_of_a_type_says_which_of_its_files_are_data(
    added: Callable[[str, str], None], tmp_path: Path
) -> None:
    added("vouched", "DATA_SUFFIXES = ('.npz', '.JSON')\n")
    added("silent", "")
    added("broken", "import no_such_module_anywhere\n")
    assert in_file("vouched", "m.NPZ", b"", tmp_path) == ""
    assert in_file("vouched", "m.json", b"", tmp_path) == ""
    assert "m.bin is not one of its data files" in in_file("vouched", "m.bin", b"", tmp_path)
    for kind in ("silent", "broken"):
        assert "does not say" in in_file(kind, "m.npz", b"", tmp_path)
    (tmp_path / "f").mkdir()
    for name in ("a.npz", "b.json", "c.txt"):
        (tmp_path / "f" / name).write_bytes(PICKLE if name == "c.txt" else b"{}")
    files = [(n, tmp_path / "f" / n) for n in ("a.npz", "sub/b.json", "c.txt")]
    files[1] = ("sub/b.json", tmp_path / "f" / "b.json")
    assert code_in_folder("vouched", files[:2]) == ""
    assert code_in_folder("vouched", files) == "c.txt is a pickle"
    assert "does not say" in code_in_folder("silent", files[:2])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"task": "text-generation", "model": "o/m", "trust_remote_code": True}, "trust_remote"),
        ({"model": "o/m", "model_kwargs": {"trust_remote_code": True}}, "trust_remote"),
        ({"model": "o/m", "generate_kwargs": [{"custom_generate": "o/code"}]}, "custom_generate"),
        ({"model": "o/m", "trust_remote_code": False}, ""),
    ],
)
def test_arguments_of_a_pipeline_that_run_code_are_found_at_any_depth(
    arguments: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.json"
    path.write_bytes(parse_pipeline(1, arguments).to_json())
    found = code_in_folder("hf_pipeline", [("pipeline.json", path)])
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_folder_runs_code_if_a_file_in_it_does(tmp_path: Path) -> None:
    def folder(kind: str, **files: bytes) -> str:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return code_in_folder(kind, [(f"deep/{name}", tmp_path / name) for name in files])

    plain = {"config": b"{}", "lookups": b"\x80", "weights": bytes(10)}
    assert folder("spacy", **plain) == ""
    assert folder("spacy", **plain, hidden=PICKLE) == "deep/hidden is a pickle"
    assert folder("mlflow", **plain) == "MLFLOW folders are programs"
    source = tmp_path / "layer.py"
    source.touch()
    assert code_in_folder("spacy", [("a/layer.py", source)]) == "a/layer.py is code"
