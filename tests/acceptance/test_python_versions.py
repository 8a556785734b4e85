"""Clients under other Python versions: an environment for them, or a clear refusal.

`server` has no interpreter but its own; `everywhere` takes those of this machine. Each client is a
virtual environment of its own with the light install: no framework, no NumPy. The last tests forge
what the client would never send, a bundle that claims this interpreter while its functions were
made by another, because the server has to live through that too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import interpreters
import numpy as np
import pytest
import xgboost
from interpreters import HERE, MINORS
from sklearn.datasets import load_breast_cancer

import penstock
from penstock import Endpoint, PenstockError, model_type

ROOT = Path(penstock.__file__).parents[2]

DEPLOY = """
import json, sys
import penstock
from penstock import deploy, model_type

model, name, with_functions, row = sys.argv[1], sys.argv[2], sys.argv[3] == "functions", sys.argv[4]
OFFSET = 1.0

def post(result):
    return [[value + OFFSET for value in row] for row in result.tolist()]

stage = (model_type.XGBOOST_CLASSIFIER, model)
assert "numpy" not in sys.modules and "xgboost" not in sys.modules
try:
    endpoint = deploy([(*stage, {"post": post}) if with_functions else stage], name, quiet=True)
    print(json.dumps({"result": endpoint.predict([json.loads(row)])}))
except penstock.PenstockError as error:
    print(json.dumps({"code": error.code, "text": str(error), "stage": error.stage}))
"""

OWN_PYTHON = """
import json, sys
from penstock import deploy, model_type

OFFSET = 40

def where(data):
    return {"python": "%d.%d" % sys.version_info[:2], "sum": sum(data) + OFFSET}

endpoint = deploy([(model_type.PYTHON, where)], sys.argv[1], example=[1], quiet=True)
print(json.dumps(endpoint.predict([1, 1])))
"""

TYPE_PARAMETERS = """
import json, sys
from penstock import deploy, model_type

def first[T](data: list[T]) -> T:
    type Held = list[T]
    class Box[U]:
        held: U
    return data[0]

endpoint = deploy([(model_type.PYTHON, first)], sys.argv[1], example=[1], quiet=True)
print(json.dumps(endpoint.predict([7, 8])))
"""

PACK = """
import sys
import cloudpickle

FACTOR = 3

def helper(values):
    total = 0
    for value in values:
        try:
            total += FACTOR * len(value)
        finally:
            total += 0
    return [total for _ in range(2) if total]

def post(result):
    with memoryview(b"x"):
        return [f"{len(result)!r}" for _ in helper(result.tolist())]

sys.stdout.buffer.write(cloudpickle.dumps(post))
"""


class Client(NamedTuple):
    """A Python with the light install."""

    minor: str
    python: Path

    def run(self, script: str, *arguments: str, **environment: str) -> bytes:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "PYTHON"))}
        done = subprocess.run(
            [str(self.python), "-c", textwrap.dedent(script), *arguments],
            capture_output=True,
            timeout=60,
            env={**clean, **environment},
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


PYTHONS = interpreters.found()
OTHERS = list(interpreters.others())


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Client | str]:
    """A client for each version that this machine has; for the others why there is none."""
    folder = tmp_path_factory.mktemp("clients")
    wheel = folder / "wheel"
    pip("wheel", "--no-deps", f"--wheel-dir={wheel}", str(ROOT))
    (package,) = wheel.glob("penstock-*.whl")

    def make(minor: str) -> Client | str:
        python = PYTHONS.get(minor)
        if python is None:
            return f"there is no Python {minor} on this machine"
        home = folder / minor
        if minor == HERE:
            venv.create(home, with_pip=False, symlinks=True)
        else:
            subprocess.run([python, "-m", "venv", "--without-pip", home], check=True)
        pip(f"--python={home}/bin/python", "install", "--no-compile", str(package))
        return Client(minor, home / "bin" / "python")

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(MINORS, pool.map(make, MINORS), strict=True))


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server(launch_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that has no other Python than its own."""
    live = launch_server(tmp_path_factory.mktemp("alone") / "data", {"PENSTOCK_PYTHONS": "own"})
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture(scope="module")
def everywhere(
    launch_server: Any, package_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server with every Python of this machine that can be used."""
    settings = {"PENSTOCK_PACKAGE_CACHE": str(package_cache)}
    live = launch_server(tmp_path_factory.mktemp("everywhere") / "data", settings)
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture
def client(clients: dict[str, Client | str], minor: str) -> Client:
    found = clients[minor]
    if isinstance(found, str):
        pytest.skip(found)
    return found


class Trained(NamedTuple):
    model: Path
    row: list[float]
    answer: list[float]


def train(path: Path, seed: int) -> Trained:
    """Write a model whose bytes no other test uploads."""
    rows, labels = load_breast_cancer(return_X_y=True)
    made = xgboost.XGBClassifier(n_estimators=5, n_jobs=1, random_state=seed, subsample=0.5)
    made.fit(rows, labels)
    made.save_model(path)
    return Trained(path, rows[0].tolist(), made.predict_proba(rows[:1])[0].tolist())


@pytest.fixture(scope="module")
def beside(put_once: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Endpoint, Trained]:
    """A deployment that has to keep answering whatever the others do."""
    trained = train(tmp_path_factory.mktemp("beside") / "beside.json", 99)
    return put_once([(model_type.XGBOOST_CLASSIFIER, trained.model)], "beside"), trained


def still_answers(beside: tuple[Endpoint, Trained], server: Any) -> None:
    endpoint, trained = beside
    np.testing.assert_allclose(endpoint.predict([trained.row])[0], trained.answer, rtol=1e-6)
    assert httpx2.get(f"{server.url}/readyz").status_code == 200


def deploy_from(client: Client, server: Any, trained: Trained, name: str, what: str) -> Any:
    """Return what the client was answered or told; its deployment is deleted."""
    told = client.run(
        DEPLOY, str(trained.model), name, what, json.dumps(trained.row),
        PENSTOCK_SERVER=server.url, PENSTOCK_API_KEY=server.keys["deploy"],
        PENSTOCK_PROFILE=str(trained.model.parent / "profile.json"),
    )  # fmt: skip
    with contextlib.suppress(PenstockError):
        url = f"{server.url}/v1/default/{name}/predict"
        Endpoint(url, server.keys["deploy"]).delete()
    return json.loads(told)


def lacks(server: Any, path: Path) -> bool:
    """Whether the server has never been sent this file."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    answer = httpx2.post(
        f"{server.url}/v1/default/blobs/missing",
        json={"sha256": [digest]},
        headers={"Authorization": server.keys["deploy"]},
    )
    return answer.json()["missing"] == [digest]


@pytest.mark.parametrize("minor", MINORS)
def test_a_flow_without_functions_deploys_and_answers_from_every_python(
    client: Client, server: Any, beside: Any, tmp_path: Path
) -> None:
    trained = train(tmp_path / "plain.json", MINORS.index(client.minor))
    name = f"plain-{client.minor.replace('.', '-')}"
    told = deploy_from(client, server, trained, name, "plain")
    np.testing.assert_allclose(told["result"], [trained.answer], rtol=1e-6)
    still_answers(beside, server)


@pytest.mark.parametrize("minor", MINORS)
def test_functions_of_another_python_are_refused_before_anything_is_sent(
    client: Client, server: Any, beside: Any, tmp_path: Path
) -> None:
    trained = train(tmp_path / "functions.json", 10 + MINORS.index(client.minor))
    name = f"by-{client.minor.replace('.', '-')}"
    told = deploy_from(client, server, trained, name, "functions")
    if client.minor == HERE:
        np.testing.assert_allclose(told["result"], [np.add(trained.answer, 1)], rtol=1e-6)
    else:
        assert told["code"] == "interpreter_mismatch"
        assert told["stage"] == 1
        assert client.minor in told["text"]
        assert HERE in told["text"]
        assert f"Python {HERE}" in told["text"]
        assert lacks(server, trained.model)
    still_answers(beside, server)


def run_from(client: Client, live: Any, program: str, name: str, folder: Path) -> Any:
    """Run a program with the client's Python; return what it prints as JSON."""
    told = client.run(
        program, f"{name}-{client.minor.replace('.', '-')}",
        PENSTOCK_SERVER=live.url, PENSTOCK_API_KEY=live.keys["deploy"],
        PENSTOCK_PROFILE=str(folder / "profile.json"),
    )  # fmt: skip
    return json.loads(told)


@pytest.mark.parametrize("minor", MINORS)
def test_functions_run_on_the_python_they_were_deployed_from(
    client: Client, everywhere: Any, tmp_path: Path
) -> None:
    told = run_from(client, everywhere, OWN_PYTHON, "on", tmp_path)
    assert told == {"python": client.minor, "sum": 42}
    listed = httpx2.get(
        f"{everywhere.url}/v1/environments", headers={"Authorization": everywhere.keys["admin"]}
    ).json()["environments"]
    users = {e["python"].rpartition(".")[0]: e["used_by"] for e in listed}
    assert (client.minor in users) == (client.minor != HERE)


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor not in {"3.10", "3.11"}])
def test_functions_with_type_parameters_travel(
    client: Client, everywhere: Any, tmp_path: Path
) -> None:
    assert run_from(client, everywhere, TYPE_PARAMETERS, "typed-on", tmp_path) == [7]


def forge(server: Any, name: str, trained: Trained, pickled: bytes) -> list[dict[str, Any]]:
    """Deploy functions with a manifest that says that they were made by this interpreter."""
    from penstock.client.preflight import prepare
    from penstock.codec.bundle import as_plain
    from penstock.codec.functions import make_blob
    from penstock.core.flow import Flow

    flow = [(model_type.XGBOOST_CLASSIFIER, trained.model, {"post": lambda result: result})]
    prepared = prepare(Flow.parse(flow), example=[trained.row])
    manifest: Any = as_plain(prepared.manifest)
    entry = manifest["stages"][0]["post"]
    blob = make_blob("post", pickled)
    del prepared.blobs[entry["pickle"]["sha256"]]
    prepared.blobs[blob.sha256] = pickled
    entry["pickle"] = {"name": blob.name, "sha256": blob.sha256, "size": blob.size}
    project = f"{server.url}/v1/default"
    with httpx2.Client(headers={"Authorization": server.keys["deploy"]}, timeout=60) as http:
        for digest, source in prepared.blobs.items():
            content = source if isinstance(source, bytes) else source.read_bytes()
            assert http.put(f"{project}/blobs/{digest}", content=content).status_code < 300
        answer = http.post(f"{project}/{name}/versions", json={"manifest": manifest})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.skipif(not OTHERS, reason="no other Python version on this machine")
@pytest.mark.parametrize("minor", OTHERS)
def test_a_bundle_that_lies_about_its_python_harms_nothing_but_itself(
    client: Client, server: Any, beside: Any, put: Any, tmp_path: Path
) -> None:
    trained = train(tmp_path / "forged.json", 20)
    flow = [(model_type.XGBOOST_CLASSIFIER, trained.model)]
    endpoint = put(flow, f"forged-{client.minor.replace('.', '-')}")
    pid = server.pid
    for _ in range(2):
        last = forge(server, endpoint.name, trained, client.run(PACK))[-1]
        if last["event"] == "failed":
            message = last["error"]["message"]
            assert last["error"]["code"] in {"load_failed", "example_failed"}
            assert "SIG" in message or "rror" in message, message
            np.testing.assert_allclose(endpoint.predict([trained.row]), [trained.answer], rtol=1e-6)
        else:  # this pair of versions happens to understand each other
            assert endpoint.predict([trained.row]) == ["1"]
    still_answers(beside, server)
    assert server.pid == pid
    assert not server.ended


def test_a_function_that_crashes_the_interpreter_fails_the_deploy_with_the_signal(
    server: Any, beside: Any, put: Any, tmp_path: Path
) -> None:
    trained = train(tmp_path / "crashing.json", 30)
    flow = [(model_type.XGBOOST_CLASSIFIER, trained.model)]
    endpoint = put(flow, "crashing")

    def crash(result: Any) -> Any:
        import ctypes

        return ctypes.string_at(0)

    with pytest.raises(PenstockError, match="SIGSEGV") as caught:
        put([(*flow[0], crash)], "crashing", example=[trained.row], check_locally=False)
    assert caught.value.code == "example_failed"
    assert endpoint.predict([trained.row])[0] == pytest.approx(trained.answer, rel=1e-6)
    still_answers(beside, server)
