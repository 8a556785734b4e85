"""TENSORFLOW in an environment of its own: asked for with the flow, built by the server.

TensorFlow need not be installed beside the tests. A function in that environment trains and saves
the model and says what TensorFlow itself answers; the saved folder is then deployed into the same
environment, and a program there runs it without a server. What is found is the second table of
`docs/reference/model-types.md`; `PENSTOCK_WRITE_DOCS=1` rewrites it.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import model_page
import numpy as np
import pytest

from penstock import Conduit, Endpoint, PenstockError, deploy, model_type, parallel

PROGRAM = Path(__file__).parents[2] / "programs" / "saved_model.py"
PROGRAM_S = 120
#: With what Penstock itself needs for a run without a server.
OWN = [line for line in metadata.requires("penstock") or () if "extra ==" not in line]
REQUIREMENTS = ["tensorflow-cpu>=2.16,<3", *OWN]
ROWS = [[0.1 * column + row for column in range(4)] for row in range(6)]


def train(rows: Any) -> Any:
    """Train a net, save it, and return the folder zipped with what TensorFlow answers to `rows`."""
    import base64
    import io
    import os
    import zipfile
    from pathlib import Path

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import tensorflow as tf

    keras = tf.keras
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.layers.Input((4,), name="measures"), keras.layers.Dense(8, activation="relu"),
         keras.layers.Dropout(0.5), keras.layers.Dense(3, activation="softmax")]
    )  # fmt: skip
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(np.array(rows), np.array([0, 1, 2, 0, 1, 2]), epochs=2, verbose=0)
    model.export("saved", verbose=False)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in Path("saved").rglob("*"):
            archive.write(path, path.relative_to("saved"))
    model.save("net.keras")
    answer = model.predict(np.array(rows), verbose=0).tolist()
    files = {"saved": packed.getvalue(), "keras": Path("net.keras").read_bytes()}
    coded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return {**coded, "answer": answer}


class Trained(NamedTuple):
    """A SavedModel, the same as a `.keras` file, what TensorFlow answers, and where."""

    folder: Path
    file: Path
    answer: list[list[float]]
    home: Path


@pytest.fixture(scope="module")
def server(
    launch_server: Any, package_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    data = tmp_path_factory.mktemp("tensorflow") / "data"
    cached = {"PENSTOCK_PACKAGE_CACHE": str(package_cache)}
    # What the server's own Keras runs on means nothing in an environment that has TensorFlow only.
    live = launch_server(data, {**cached, "KERAS_BACKEND": "torch"})
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture(scope="module")
def columns() -> dict[str, str]:
    """What was found out, column by column."""
    return {}


def put(server: Any, flow: Any, name: str) -> Endpoint:
    key = server.keys["deploy"]
    return deploy(flow, name, key, server=server.url, quiet=True, requirements=REQUIREMENTS)


@pytest.fixture(scope="module")
def trained(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    trainer = put(server, [(model_type.PYTHON, train)], "trainer")
    made = trainer.predict(ROWS)
    trainer.delete()
    folder = tmp_path_factory.mktemp("saved") / "net"
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(made["saved"]))) as archive:
        archive.extractall(folder)
    file = folder.with_suffix(".keras")
    file.write_bytes(base64.b64decode(made["keras"]))
    (home,) = (server.data / "environments").glob("*/built.json")
    return Trained(folder, file, made["answer"], home.parent)


@pytest.fixture(scope="module")
def net(server: Any, trained: Trained) -> Endpoint:
    return put(server, [(model_type.TENSORFLOW, trained.folder)], "net")


@pytest.fixture(scope="module")
def here(server: Any, trained: Trained) -> dict[str, Any]:
    """What a program in the environment got without a server, alone and in a parallel branch."""
    (runtime,) = (server.data / "environments" / "runtime").iterdir()
    done = subprocess.run(
        [trained.home / "bin" / "python", PROGRAM, trained.folder],
        input=json.dumps(ROWS), capture_output=True, text=True, timeout=PROGRAM_S, check=False,
        env={**os.environ, "PYTHONPATH": str(runtime), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_saved_model_answers_as_tensorflow_does_here_and_served(
    trained: Trained, net: Endpoint, here: dict[str, Any], columns: dict[str, str]
) -> None:
    served = net.predict(ROWS)
    columns |= {"loads": "yes", "predicts": "yes"}
    np.testing.assert_allclose(served, trained.answer, rtol=1e-5)
    assert served == here["alone"]
    assert net.predict({"measures": ROWS}) == served
    columns |= {"equals": "yes", "served": "yes"}


def test_the_model_is_served_in_the_environment_it_was_made_in(
    server: Any, trained: Trained, net: Endpoint
) -> None:
    answer = httpx2.get(
        f"{server.url}/v1/environments", headers={"Authorization": server.keys["admin"]}
    )
    assert [e["key"] for e in answer.json()["environments"]] == [trained.home.name]
    assert net.predict(ROWS[:1])


def test_calls_at_once_are_joined_and_get_their_own_rows(
    server: Any, trained: Trained, net: Endpoint, columns: dict[str, str]
) -> None:
    answers: list[Any] = [None] * len(ROWS)

    def ask(index: int) -> None:
        answers[index] = net.predict([ROWS[index]])[0]

    for _ in range(30):
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(ROWS))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_allclose(answers, trained.answer, rtol=1e-5)
        told = httpx2.get(
            net.url.removesuffix("/predict"), headers={"Authorization": server.keys["deploy"]}
        ).json()
        states = [r["facts"]["stages"][0]["batching"]["state"] for r in told["replicas"]]
        if "on" in states:
            break
    assert "on" in states
    columns["joined"] = "yes"


def test_it_may_stand_in_a_parallel_branch(
    server: Any, trained: Trained, here: dict[str, Any], columns: dict[str, str]
) -> None:
    stage = (model_type.TENSORFLOW, trained.folder)
    served = put(server, [parallel([stage, stage], "mean")], "branches").predict(ROWS)
    np.testing.assert_allclose(served, trained.answer, rtol=1e-5)
    assert served == here["parallel"]
    columns["parallel"] = "yes"


def test_a_saved_model_is_a_program_and_refuses_what_does_not_fit(
    net: Endpoint, columns: dict[str, str]
) -> None:
    assert net.versions()[-1].stages[0]["runs_code"] is True
    columns["code"] = "yes"
    with pytest.raises(PenstockError) as caught:
        net.predict([[1.0, 2.0]])
    assert caught.value.code == "input_mismatch"


def test_a_keras_file_runs_there_on_the_backend_that_is_installed(
    server: Any, trained: Trained
) -> None:
    net = put(server, [(model_type.KERAS, trained.file)], "keras-net")
    np.testing.assert_allclose(net.predict(ROWS), trained.answer, rtol=1e-5, atol=1e-6)
    net.delete()


def test_where_tensorflow_is_missing_the_message_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(PenstockError, match="needs tensorflow, which is not installed") as caught:
        Conduit("here", None, [(model_type.TENSORFLOW, tmp_path)]).load()
    assert 'pip install "penstock[tensorflow]"' in (caught.value.hint or "")


def test_the_reference_page_shows_what_was_found(columns: dict[str, str]) -> None:
    if len(columns) != 7:
        pytest.skip("the table needs all tests of this file")
    order = ("loads", "predicts", "equals", "joined", "parallel", "served", "code")
    row = " | ".join(columns[name] for name in order)
    shown = f"{model_page.HEAD}| `TENSORFLOW` | SavedModel | {row} |\n"
    assert model_page.block("tensorflow", shown) == shown
