"""A bundle becomes a flow: modules, functions, models, with stored files that have no suffix."""

from __future__ import annotations

import dataclasses
import hashlib
import sys

import msgspec
import numpy as np
import pytest

from penstock.codec.bundle import Interpreter, Manifest, ModuleSource, StageEntry
from penstock.codec.functions import make_blob, pack_function
from penstock.core.errors import BlobMissing, InterpreterMismatch, InvalidManifest, LoadFailed
from penstock.flow.assemble import assemble
from penstock.flow.local_memory import LocalMemory
from penstock.flow.service import FlowService


@pytest.fixture
def store(tmp_path):
    """Return a function that stores bytes under their SHA-256, and where they are."""
    paths = {}

    def put(name, content):
        blob = make_blob(name, content)
        paths[blob.sha256] = tmp_path / blob.sha256
        paths[blob.sha256].write_bytes(content)
        return blob

    put.paths = paths
    return put


def post(proba):
    import bundled_helper

    return bundled_helper.label(proba)


@pytest.fixture
def manifest(store, models):
    packed = pack_function(post, stage=2, role="post", arguments=1)
    for content in packed.blobs.values():
        store("function", content)
    module = b"def label(proba):\n    return proba.argmax(axis=1)\n"
    return Manifest(
        interpreter=Interpreter.current(),
        stages=[
            StageEntry("torch", store("net.pt", models.net.read_bytes())),
            StageEntry(
                "xgboost_classifier", store("xgb.json", models.xgb.read_bytes()), None, packed.entry
            ),
        ],
        modules=[ModuleSource("bundled_helper.py", store("bundled_helper.py", module))],
    )


def load(manifest, store, tmp_path):
    return assemble(manifest, store.paths, threads=1, max_batch=8, scratch=tmp_path / "modules")


def test_a_bundle_answers_as_the_frameworks_do(
    manifest, store, models, tmp_path, worker, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    flow = load(manifest, store, tmp_path)
    service = FlowService(flow, LocalMemory().ask, tmp_path / "scratch")
    from penstock.codec.frames import CallFrame

    raw = msgspec.json.encode(models.x[:5].tolist())
    call = CallFrame(1, "0" * 36, 0, 0, 0, "application/json", raw, len(raw))
    answer = msgspec.json.decode(service.answer([call])[0].body)
    assert answer["result"] == models.own.xgb.predict(models.hidden[:5]).tolist()
    assert np.isfinite(answer["run_time_ms"])
    sys.modules.pop("bundled_helper")


def test_another_interpreter_is_refused_before_anything_is_unpickled(manifest, store, tmp_path):
    other = dataclasses.replace(Interpreter.current(), magic="00000000", version="3.99.0")
    for path in store.paths.values():
        path.write_bytes(b"not even a pickle")
    with pytest.raises(InterpreterMismatch, match=r"3\.99\.0"):
        load(msgspec.structs.replace(manifest, interpreter=other), store, tmp_path)


def test_a_function_that_does_not_unpickle_is_named(manifest, store, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    raw = b"\x80\x05."
    entry = manifest.stages[1].post
    blob = store("bad", raw)
    bad = msgspec.structs.replace(entry, pickle=blob)
    stage = msgspec.structs.replace(manifest.stages[1], post=bad)
    broken = msgspec.structs.replace(manifest, stages=[manifest.stages[0], stage])
    with pytest.raises(LoadFailed) as caught:
        load(broken, store, tmp_path)
    assert (caught.value.stage, caught.value.function) == (2, "post")


def test_a_missing_blob_or_an_unknown_type_names_the_stage(manifest, store, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    odd = msgspec.structs.replace(manifest.stages[0], model_type="quantum")
    with pytest.raises(LoadFailed, match="No installed package adds the model type 'quantum'"):
        load(msgspec.structs.replace(manifest, stages=[odd]), store, tmp_path)
    odd = msgspec.structs.replace(manifest.stages[0], model_type="../quantum")
    with pytest.raises(InvalidManifest, match=r"Stage 1 has the model type '\.\./quantum'"):
        load(msgspec.structs.replace(manifest, stages=[odd]), store, tmp_path)
    sha256 = manifest.stages[1].model.sha256
    assert hashlib.sha256(store.paths.pop(sha256).read_bytes()).hexdigest() == sha256
    with pytest.raises(BlobMissing, match=r"xgb\.json of stage 2"):
        load(manifest, store, tmp_path)
