"""The server labels models itself, and finds bytecode of another Python before it loads it."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from penstock.codec.bundle import Blob, FolderFile, Interpreter, Manifest, StageEntry
from penstock.codec.model_folders import listing_digest
from penstock.control.model_files import labelled
from penstock.core.errors import InterpreterMismatch, ModelRunsCode
from penstock.stores.files import FileBlobs

HERE = Interpreter.current()
OTHER = replace(HERE, version="3.8.1", magic="550d0d0a")


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


def keep(blobs: FileBlobs, name: str, content: bytes) -> Blob:
    sha256 = hashlib.sha256(content).hexdigest()
    writer = blobs.begin(sha256)
    writer.write(content)
    writer.commit()
    return Blob(name, sha256, len(content))


def judge(blobs: FileBlobs, stage: StageEntry, made_by: Interpreter = HERE, **more: Any) -> Any:
    manifest = Manifest(made_by, [stage])
    return labelled(manifest, blobs, HERE, **{"refuse_code": False, **more}).stages[0].runs_code


BY_VALUE = cloudpickle.dumps(lambda x: x + 1)
BY_NAME = pickle.dumps({"weights": [1.0]})


def test_the_label_is_the_servers_whatever_the_client_said(blobs: FileBlobs) -> None:
    stage = StageEntry("sklearn", keep(blobs, "m.pkl", BY_NAME), runs_code=False)
    assert judge(blobs, stage) is True
    stage = StageEntry("onnx", keep(blobs, "m.onnx", b"onnx"), runs_code=True)
    assert judge(blobs, stage) is False


def test_models_with_code_are_refused_where_the_operator_says_so(blobs: FileBlobs) -> None:
    stage = StageEntry("sklearn", keep(blobs, "m.pkl", BY_NAME))
    with pytest.raises(ModelRunsCode, match=r"stage 1 \(m\.pkl\) can run code") as caught:
        judge(blobs, stage, refuse_code=True)
    assert caught.value.stage == 1
    safe = StageEntry("skops", keep(blobs, "m.skops", b"PK"))
    assert judge(blobs, safe, refuse_code=True) is False


def test_bytecode_of_another_python_is_found_without_unpickling(blobs: FileBlobs) -> None:
    stage = StageEntry("sklearn", keep(blobs, "m.pkl", BY_VALUE))
    assert judge(blobs, stage) is True
    with pytest.raises(InterpreterMismatch, match=r"stage 1 \(m\.pkl\) holds Python code made by"):
        judge(blobs, stage, made_by=OTHER)
    plain = StageEntry("sklearn", keep(blobs, "n.pkl", BY_NAME))
    assert judge(blobs, plain, made_by=OTHER) is True


def test_a_folder_is_looked_through_file_by_file(blobs: FileBlobs) -> None:
    files = [
        FolderFile("MLmodel", keep(blobs, "MLmodel", b"flavors: {}")),
        FolderFile("data/python_model.pkl", keep(blobs, "python_model.pkl", BY_VALUE)),
    ]
    digest = listing_digest((file.path, file.blob.sha256) for file in files)
    model = Blob("folder", digest, sum(file.blob.size for file in files))
    stage = StageEntry("mlflow", model, files=files)
    assert judge(blobs, stage) is True
    with pytest.raises(InterpreterMismatch, match=r"data/python_model\.pkl"):
        judge(blobs, stage, made_by=OTHER)
