"""The mistakes people make, on a real server: each has its status, and a message that helps.

`docs/reference/mistakes.md` shows the same table. It is made from these very answers:
`PENSTOCK_WRITE_DOCS=1 pytest tests/acceptance/test_mistakes.py` rewrites it.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from penstock import PenstockError, deploy, model_type
from penstock.core.errors import BY_CODE
from penstock.server.errors import status_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mistakes.md"
INTRO = """\
<!-- Made by tests/acceptance/test_mistakes.py from a real server's answers; do not edit. -->
# Mistakes and what you are told

Each row was made on a real server with a classifier of scikit-learn's wine data (13 features).
Mistakes in the flow itself are found by `deploy()` before anything is sent, so they have no status.

| mistake | found | status | code | message |
|---|---|---|---|---|
"""


class World(NamedTuple):
    """What a mistake needs: a server, a deployed flow on it, and its files."""

    url: str
    key: str
    predict_key: str
    model: Path
    clean: str


class Told(NamedTuple):
    """What somebody was told."""

    found: str
    status: int | None
    error: dict[str, Any]


Mistake = Callable[[World], Told]
MISTAKES: dict[str, tuple[str, Mistake]] = {}


def mistake(text: str, code: str) -> Callable[[Mistake], Mistake]:
    """Register a mistake with the error code it must be told."""

    def register(make: Mistake) -> Mistake:
        MISTAKES[text] = (code, make)
        return make

    return register


def told_by_deploy(world: World, flow: object) -> Told:
    with pytest.raises(PenstockError) as caught:
        deploy(flow, "mistaken", world.key, server=world.url, quiet=True)
    return Told("`deploy`", None, caught.value.to_dict())


def told_by_call(world: World, name: str = "", key: str | None = None, **request: Any) -> Told:
    url = f"{world.url}/v1/default/{name or world.clean}/predict"
    headers = {"Authorization": world.key if key is None else key} | request.pop("headers", {})
    answer = httpx2.post(url, headers=headers, timeout=60, **request)
    body = answer.json()
    assert body["run_id"]
    return Told("call", answer.status_code, body["error"])


def stage(world: World, **functions: Any) -> tuple[Any, ...]:
    return (model_type.SKLEARN_CLASSIFIER, world.model, functions)


def deployed(world: World, name: str, **functions: Any) -> str:
    deploy([stage(world, **functions)], name, world.key, server=world.url, quiet=True)
    return name


ROW = [13.2, 1.8, 2.1, 11.2, 100.0, 2.6, 2.8, 0.3, 1.3, 4.4, 1.05, 3.4, 1050.0]


@mistake("`post` takes four arguments", "invalid_signature")
def wrong_signature(world: World) -> Told:
    return told_by_deploy(world, [stage(world, post=lambda result, data, files, extra: result)])


@mistake("the path of a stage is empty", "missing_model_file")
def empty_path(world: World) -> Told:
    return told_by_deploy(world, [stage(world), (model_type.TORCH, "")])


@mistake("`pre` imports a library the server does not have", "missing_imports")
def missing_module(world: World) -> Told:
    def pre(data: Any) -> Any:
        import cv2  # type: ignore[import-not-found]

        return cv2.imread(data)

    return told_by_deploy(world, [stage(world, pre=pre)])


@mistake("a row has 4 numbers, the model takes 13", "input_mismatch")
def wrong_feature_count(world: World) -> Told:
    return told_by_call(world, json=[ROW[:4]])


@mistake("`pre` makes rows of another width than the model takes", "stage_mismatch")
def wrong_pre(world: World) -> Told:
    name = deployed(world, "narrow", pre=lambda data: [row[:4] for row in data])
    return told_by_call(world, name, json=[ROW])


@mistake("`post` raises an exception", "function_failed")
def raising(world: World) -> Told:
    def post(result: Any) -> Any:
        return {"label": result["label"]}

    return told_by_call(world, deployed(world, "raising", post=post), json=[ROW])


@mistake("`pre` forgets to return", "returned_none")
def returns_nothing(world: World) -> Told:
    def pre(data: Any) -> None:
        data.sort()

    return told_by_call(world, deployed(world, "forgetful", pre=pre), json=[ROW])


@mistake("`post` returns what has no JSON form", "result_not_serialisable")
def unserialisable(world: World) -> Told:
    name = deployed(world, "odd", post=lambda result: {"answer": [1, object()]})
    return told_by_call(world, name, json=[ROW])


@mistake("the body is not JSON", "malformed_body")
def bad_json(world: World) -> Told:
    return told_by_call(world, content=b"[[1, 2", headers={"Content-Type": "application/json"})


@mistake("a pickle is sent", "unsupported_media")
def pickled(world: World) -> Told:
    headers = {"Content-Type": "application/x-pickle"}
    return told_by_call(world, content=pickle.dumps([ROW]), headers=headers)


@mistake("no deployment has that name", "not_found")
def unknown_name(world: World) -> Told:
    return told_by_call(world, "nowhere", json=[ROW])


@mistake("the key is wrong", "unauthorized")
def wrong_key(world: World) -> Told:
    return told_by_call(world, key="pk_p_00000000_nonsense", json=[ROW])


@mistake("a predict key is used to deploy", "forbidden")
def weak_key(world: World) -> Told:
    with pytest.raises(PenstockError) as caught:
        deploy([stage(world)], "mistaken", world.predict_key, server=world.url, quiet=True)
    return Told("`deploy`", status_of(caught.value.code), caught.value.to_dict())


@mistake("the body is larger than the server takes", "body_too_large")
def oversized(world: World) -> Told:
    headers = {"Content-Type": "application/octet-stream"}
    return told_by_call(world, content=b"0" * (2 * 1024 * 1024), headers=headers)


@mistake("files are sent to a flow whose functions take none", "files_not_used")
def unused_files(world: World) -> Told:
    return told_by_call(world, data={"data": json.dumps([ROW])}, files={"files": b"bytes"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Any:
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folder = tmp_path_factory.mktemp("mistakes")
    rows, kinds = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, kinds)
    (folder / "wine.pkl").write_bytes(pickle.dumps(model))
    live = launch_server(folder / "data", {"PENSTOCK_MAX_BODY_BYTES": "1048576"})
    made = World(live.url, live.keys["deploy"], live.keys["predict"], folder / "wine.pkl", "wine")
    deployed(made, "wine")
    yield made
    live.kill()


@pytest.fixture(scope="module")
def told(world: World) -> dict[str, Told]:
    return {text: make(world) for text, (_, make) in MISTAKES.items()}


@pytest.mark.parametrize("text", MISTAKES)
def test_each_mistake_has_the_documented_status_and_a_message_that_helps(
    told: dict[str, Told], text: str
) -> None:
    code, _ = MISTAKES[text]
    found, status, error = told[text]
    assert error["code"] == code
    if status is not None:
        assert status == status_of(BY_CODE[code])
    assert len(error["message"]) > 20
    if error["stage"] is not None:
        assert f"tage {error['stage']}" in error["message"]
    if error["function"] is not None:
        assert error["function"] in error["message"]
    assert found


def shown(told: dict[str, Told]) -> str:
    rows = []
    for text, (found, status, error) in told.items():
        message = " ".join(filter(None, [error["message"], error["hint"]]))
        message = re.sub(r"'?/[^ ']*/(\w+\.\w+)", r"\1", message).replace("|", "\\|")
        message = re.sub(r"pk_(.)_[0-9a-f]{8}", r"pk_\1_…", message)
        message = re.sub(r"line \d+", "line …", message)
        message = re.sub(r"0x[0-9a-f]+", "0x…", " ".join(message.split()))
        rows.append(f"| {text} | {found} | {status or '–'} | `{error['code']}` | {message} |")
    return INTRO + "\n".join(rows) + "\n"


def test_the_page_of_mistakes_shows_what_people_are_told(told: dict[str, Told]) -> None:
    page = shown(told)
    if os.environ.get("PENSTOCK_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
