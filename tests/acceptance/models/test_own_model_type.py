"""A package adds a model type: it is built, installed, and its type deployed like any other."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_wine

from penstock import Conduit, PenstockError, deploy

EXAMPLE = Path(__file__).parents[3] / "examples" / "own-model-type"
ROWS, KINDS = load_wine(return_X_y=True)
VECTORS = ROWS[::2] / ROWS.max(axis=0)
QUERIES = ROWS[1::2] / ROWS.max(axis=0)
NAMES = np.array(["barolo", "grignolino", "barbera"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the example installed in it, also for this process."""
    made = tmp_path_factory.mktemp("own-type")
    source, site = made / "source", made / "site"
    shutil.copytree(EXAMPLE, source)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = made.glob("*.whl")
    install = ["install", "-q", "--no-index", "--no-deps", "--target", str(site), str(wheel)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", *install]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    yield site
    sys.path.remove(str(site))
    for name in [name for name in sys.modules if name.startswith("penstock_nearest")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def server_with_it(site: Path, tmp_path_factory: Any, launch_server: Any) -> Iterator[Any]:
    environment = {"PYTHONPATH": str(site), "PENSTOCK_MODELS_WITH_CODE": "refuse"}
    live = launch_server(tmp_path_factory.mktemp("with") / "data", environment)
    yield live
    live.kill()


def nearest(rows: np.ndarray) -> list[str]:
    """The answer by hand, one row after the other."""
    found = [np.linalg.norm(VECTORS - row, axis=1).argmin() for row in rows]
    return NAMES[KINDS[::2][found]].tolist()


def test_the_type_is_deployed_as_a_file_and_as_an_object(
    site: Path, server_with_it: Any, tmp_path: Path
) -> None:
    package = importlib.import_module("penstock_nearest")
    labels = NAMES[KINDS[::2]]
    np.savez(tmp_path / "wine.npz", vectors=VECTORS, labels=labels)
    for source in (tmp_path / "wine.npz", package.Index(VECTORS, labels)):
        flow = [(package.NEAREST, source)]
        options = {"server": server_with_it.url, "quiet": True}
        endpoint = deploy(flow, "nearest", server_with_it.keys["deploy"], **options)
        answer = endpoint.predict(QUERIES.tolist())
        # The package declares .npz as data, so a server that refuses code takes it.
        assert endpoint.versions()[-1].stages[0]["runs_code"] is False
        assert answer == Conduit("here", None, flow).run(QUERIES.tolist()) == nearest(QUERIES)
    with pytest.raises(PenstockError, match=r"NEAREST\) expected 13 values per row"):
        endpoint.predict([[1.0, 2.0]])


def test_a_server_without_the_package_says_so_before_anything_is_sent(
    site: Path, server: Any
) -> None:
    package = importlib.import_module("penstock_nearest")
    flow = [(package.NEAREST, package.Index(VECTORS, NAMES[KINDS[::2]]))]
    with pytest.raises(PenstockError, match="NEAREST, which needs a package that adds it"):
        deploy(flow, "nearest", server.keys["deploy"], server=server.url, quiet=True)
