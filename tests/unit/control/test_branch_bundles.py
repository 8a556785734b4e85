"""What holds for a stage holds for a stage inside a branch: libraries, versions, folders, GPUs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from penstock import model_type as M
from penstock import switch
from penstock.client.preflight import prepare
from penstock.codec.bundle import Manifest, read_manifest, write_manifest
from penstock.control import admission
from penstock.control.deploy_failures import blame_versions
from penstock.core.errors import InvalidManifest, LoadFailed
from penstock.core.flow import Flow
from penstock.environments.choice import wanted


def by_size(data: Any) -> str:
    return "many" if len(data) > 1 else "one"


def rounded(result: Any) -> Any:
    import pandas

    return pandas.DataFrame(result).round(2).to_numpy()


@pytest.fixture
def bundle(tmp_path: Path) -> Manifest:
    """A switch whose branch `many` has a pickled estimator, and `one` a folder."""
    x, y = load_iris(return_X_y=True)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression(max_iter=500).fit(x, y)))
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    many = (M.SKLEARN_CLASSIFIER, path, {"post": rounded})
    flow = Flow.parse([switch(by_size, {"many": many, "one": (M.TENSORFLOW, folder)})])
    return prepare(flow, requirements=["regex"]).manifest


def test_an_environment_has_what_models_and_functions_in_branches_use(bundle: Manifest) -> None:
    needs = {"sklearn_classifier": ["sklearn"], "tensorflow": ["tensorflow"]}
    modules = admission.model_modules(bundle, needs)
    assert modules == ["sklearn", "tensorflow"]
    found = wanted(bundle, bundle.interpreter, modules, {}, cuda=True)
    assert {"pandas", "scikit-learn", "tensorflow"} <= set(found.libraries)
    assert found.preferred["scikit-learn"] == sklearn.__version__


def test_a_version_that_a_model_in_a_branch_was_saved_with_is_named_first(
    bundle: Manifest,
) -> None:
    error = LoadFailed("It does not load.", stage=1)
    blame_versions(error, bundle, {"scikit-learn": "0.1.0"})
    assert error.message == (
        "The model of stage 1 of branch 'many' of stage 1 was saved with scikit-learn "
        f"{sklearn.__version__}, and loaded with scikit-learn 0.1.0. It does not load."
    )


def test_a_folder_in_a_branch_must_be_described_by_its_files(bundle: Manifest) -> None:
    assert read_manifest(write_manifest(bundle)) == bundle
    plain: Any = msgspec.to_builtins(bundle)
    (inner,) = plain["stages"][0]["branches"]["flows"][1]["stages"]
    inner["files"][0]["path"] = "../outside"
    with pytest.raises(InvalidManifest, match="outside"):
        read_manifest(msgspec.json.encode(plain))
