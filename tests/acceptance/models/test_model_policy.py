"""A server may refuse models that run code when they are loaded, whatever the client says."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import skops.io
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

from penstock import PenstockError, PluginType, deploy, model_type, parallel
from penstock.client.preflight import prepare
from penstock.core.flow import Flow

M = model_type
ROWS, KINDS = load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    model = LogisticRegression(max_iter=50).fit(ROWS / ROWS.max(axis=0), KINDS)
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    skops.io.dump(model, folder / "model.skops")
    return folder


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Any:
    environment = {"PENSTOCK_MODELS_WITH_CODE": "refuse"}
    live = launch_server(tmp_path_factory.mktemp("strict") / "data", environment)
    yield live
    live.kill()


def test_a_pickle_is_refused_before_it_is_sent_with_what_to_do(strict: Any, files: Path) -> None:
    with pytest.raises(PenstockError, match=r"model\.pkl\) can run code .* it is a pickle") as told:
        deploy([(M.SKLEARN, files / "model.pkl")], "no", strict.keys["deploy"], server=strict.url)
    assert told.value.code == "model_runs_code"
    assert told.value.stage == 1
    assert ".skops" in (told.value.hint or "")


FORMS = [
    "TORCH torch.save", "TORCH torch.export", "XGBOOST_CLASSIFIER .pkl", "XGBOOST_REGRESSOR .pkl",
    "SKLEARN .pkl", "SKLEARN_CLASSIFIER .joblib", "SKLEARN_PREPROCESSOR .pkl", "LIGHTGBM .pkl",
    "CATBOOST .pkl", "TENSORFLOW", "MLFLOW", "SPACY with a pickle", "SPACY with a module",
    "HUGGINGFACE_PIPELINE with a pickle", "HUGGINGFACE_PIPELINE trust_remote_code",
    "HUGGINGFACE_PIPELINE deep trust_remote_code", "a file of an added type",
    "a folder of an added type", "in a branch",
]  # fmt: skip


def with_code(form: str, folder: Path) -> Any:
    """Return a stage whose model can run code on load; policies look at it, nothing loads it."""
    held = pickle.dumps(LogisticRegression())
    kind, _, suffix = form.partition(" .")
    if suffix:
        (folder / f"model.{suffix}").write_bytes(held)
        return (getattr(M, kind), folder / f"model.{suffix}")
    if form.startswith("TORCH"):
        with zipfile.ZipFile(folder / "net.pt2", "w") as archive:
            archive.writestr("net/models/model.json" if "export" in form else "net/data.pkl", "{}")
        return (M.TORCH, folder / "net.pt2")
    names = {
        "TENSORFLOW": "saved_model.pb", "MLFLOW": "MLmodel", "SPACY with a pickle": "model.pkl",
        "SPACY with a module": "parts.py", "HUGGINGFACE_PIPELINE with a pickle": "model.bin",
    }  # fmt: skip
    (folder / "model").mkdir()
    (folder / "model" / "config.cfg").write_text("")
    (folder / "model" / names.get(form, "config.json")).write_bytes(held)
    if "trust" in form:
        (folder / "model" / "config.json").write_text("{}")
        trusted = {"trust_remote_code": True}
        more = {"model_kwargs": trusted} if "deep" in form else trusted
        return (M.HUGGINGFACE_PIPELINE, {"model": folder / "model", **more})
    if form == "a file of an added type":
        return (PluginType("policy_file"), folder / "model" / "config.cfg")
    if form == "a folder of an added type":
        (folder / "model" / "config.json").write_text("{}")
        return (PluginType("policy_folder", is_folder=True), folder / "model")
    if form == "in a branch":
        stage = with_code("SKLEARN .pkl", folder)
        return parallel([stage, (M.PYTHON, best)], "concat")
    return (getattr(M, form.split(maxsplit=1)[0]), folder / "model")


def best(result: Any) -> Any:
    return result


@pytest.mark.parametrize("form", FORMS)
def test_whatever_can_run_code_is_refused_also_from_a_client_that_says_nothing_of_it(
    strict: Any, tmp_path: Path, form: str
) -> None:
    flow = [with_code(form, tmp_path)]
    with pytest.raises(PenstockError) as told:
        deploy(flow, "no", strict.keys["deploy"], server=strict.url, quiet=True)
    assert told.value.code == "model_runs_code"
    prepared = prepare(Flow.parse(flow))
    manifest = silent(msgspec.to_builtins(prepared.manifest))
    headers = {"Authorization": strict.keys["deploy"]}
    for sha256, content in prepared.blobs.items():
        raw = content.read_bytes() if isinstance(content, Path) else content
        url = f"{strict.url}/v1/default/blobs/{sha256}"
        assert httpx2.put(url, content=raw, headers=headers).status_code in {200, 201, 204}
    if "added" in form:  # a type that the server cannot know comes with requirements
        manifest["requirements"] = ["colorama"]
    url = f"{strict.url}/v1/default/no/versions"
    answer = httpx2.post(url, json={"manifest": manifest}, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "model_runs_code"
    assert httpx2.get(f"{strict.url}/v1/default/no", headers=headers).status_code == 404


def silent(manifest: Any) -> Any:
    """Return a manifest in which every model is said to run no code."""
    if isinstance(manifest, dict):
        return {k: False if k == "runs_code" else silent(v) for k, v in manifest.items()}
    return [silent(v) for v in manifest] if isinstance(manifest, list) else manifest


def test_the_same_estimator_without_code_is_taken(strict: Any, files: Path) -> None:
    def best(result: Any) -> Any:
        return result.argmax(axis=1)

    flow = [(M.SKLEARN_CLASSIFIER, files / "model.skops", {"post": best})]
    endpoint = deploy(flow, "yes", strict.keys["deploy"], server=strict.url, quiet=True)
    assert len(endpoint.predict(ROWS[:3].tolist())) == 3


def test_the_environment_says_what_the_server_takes(strict: Any, server: Any) -> None:
    for live, word in ((strict, "refuse"), (server, "allow")):
        headers = {"Authorization": live.keys["deploy"]}
        answer = httpx2.get(f"{live.url}/v1/environment", headers=headers).json()
        assert answer["models_with_code"] == word
