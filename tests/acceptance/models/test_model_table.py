"""Every model type in every form: loaded, asked, joined, served, and put in a table.

`docs/reference/model-types.md` shows what these tests found:
`PENSTOCK_WRITE_DOCS=1 pytest tests/acceptance/models/test_model_table.py` rewrites it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import model_page
import msgspec
import numpy as np
import pytest
from model_zoo import Specimen

import penstock
from penstock import Conduit, Endpoint
from penstock.codec.frames import CallFrame
from penstock.core.flow import Flow
from penstock.core.names import new_run_id
from penstock.flow.assemble import assemble_local
from penstock.flow.local_memory import LocalMemory
from penstock.flow.service import FlowService

TITLES = [
    "XGBOOST_CLASSIFIER .json", "XGBOOST_CLASSIFIER .ubj", "XGBOOST_CLASSIFIER .pkl",
    "XGBOOST_REGRESSOR .ubj", "LIGHTGBM .txt, three classes", "LIGHTGBM .txt, two classes",
    "LIGHTGBM .txt, numbers", "LIGHTGBM .pkl", "CATBOOST .cbm, three classes",
    "CATBOOST .cbm, two classes", "CATBOOST .cbm, numbers", "CATBOOST .cbm, counts",
    "CATBOOST .json", "CATBOOST .pkl", "SKLEARN .pkl", "SKLEARN .skops",
    "SKLEARN_CLASSIFIER .joblib", "SKLEARN_CLASSIFIER .skops", "SKLEARN_PREPROCESSOR .pkl",
    "SKOPS classifier", "SKOPS regressor", "SKOPS transformer", "TORCH TorchScript",
    "TORCH torch.save", "TORCH pickle", "TORCH torch.export", "TORCH weights",
    "SAFETENSORS .safetensors", "ONNX .onnx", "KERAS .keras", "MLFLOW scikit-learn, columns",
    "SPACY folder", "HUGGINGFACE_PIPELINE text classification", "PYTHON function", "PYTHON class",
]  # fmt: skip

#: How the table says whether loading a model can run code; None: the model is code itself.
RUNS_CODE = {True: "yes", False: "no", None: "is code"}


def test_every_model_type_is_in_a_table(zoo: dict[str, Specimen]) -> None:
    assert list(zoo) == TITLES
    shown = {title.partition(" ")[0] for title in TITLES}
    elsewhere = {"TENSORFLOW"}  # test_tensorflow.py
    assert shown | elsewhere == {kind.name for kind in penstock.model_type}


@dataclass
class Found:
    """What was found out about one specimen, column by column."""

    columns: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def table() -> dict[str, Found]:
    return {title: Found() for title in TITLES}


@pytest.fixture(scope="module")
def served(zoo: dict[str, Specimen], put_once: Any) -> dict[str, Endpoint]:
    """Endpoints, deployed at first use."""

    class Served(dict[str, Endpoint]):
        def __missing__(self, title: str) -> Endpoint:
            name = f"zoo-{TITLES.index(title)}"
            self[title] = put_once([zoo[title].stage], name)
            return self[title]

    return Served()


def close(found: Any, expected: Any) -> None:
    """One conversion of float32 to decimal digits may lie between them."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            close(found[key], value)
        return
    if isinstance(expected, str) or (isinstance(expected, list) and not numbers(expected)):
        assert type(found) is type(expected)
        assert isinstance(expected, list) or found == expected
        for mine, theirs in zip(found, expected, strict=True) if type(found) is list else ():
            close(mine, theirs)
        return
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def numbers(values: list[Any]) -> bool:
    """Whether a list holds numbers, however deep."""
    return np.asarray(values, dtype=object).ravel().dtype != object or all(
        isinstance(value, (int, float)) for value in np.asarray(values, dtype=object).ravel()
    )


@pytest.mark.parametrize("title", TITLES)
def test_it_answers_as_its_library_does_and_served_as_here(
    zoo: Any, served: Any, table: Any, title: str
) -> None:
    one = zoo[title]
    rows = one.rows[[0, 70, 150]]
    columns = table[title].columns
    conduit = Conduit("here", None, [one.stage]).load()
    columns["loads"] = "yes"
    here = conduit.run(rows.tolist())
    columns["predicts"] = "yes"
    close(here, one.own(rows))
    columns["equals"] = "yes"
    assert json.dumps(served[title].predict(rows.tolist())) == json.dumps(here)
    columns["served"] = "yes"


@pytest.mark.parametrize("title", TITLES)
def test_calls_that_wait_are_joined_and_give_the_rows_of_single_calls(
    zoo: Any, table: Any, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = zoo[title]
    monkeypatch.chdir(tmp_path)  # put back at the end: the service moves to its desk
    loaded = assemble_local(Flow.parse([one.stage]), threads=1, max_batch=64)
    service = FlowService(loaded, LocalMemory().ask, tmp_path / "scratch")
    rows = one.rows[:12]
    for _ in range(3):
        found = answers(service, [[row] for row in rows.tolist()])
        close(joined(found), one.own(rows))
    facts = loaded.batching()[0]
    assert facts["state"] == ("on" if one.joins else "off"), facts
    assert facts["joined_runs"] >= len(rows) * one.joins
    table[title].columns["joined"] = "yes" if one.joins else "each by itself"


@pytest.mark.parametrize("title", TITLES)
def test_rows_that_do_not_fit_are_the_callers_mistake(zoo: Any, title: str) -> None:
    one = zoo[title]
    conduit = Conduit("here", None, [one.stage]).load()
    words = [["a word"] * 3]
    wrong = one.wrong
    if not wrong:
        narrow = one.rows[:2, :-1] if one.rows.ndim == 2 else one.rows[:2, :, :-1]
        words = [["a word"] * one.rows.shape[1]]
        wrong = (narrow.tolist(), words, {"no such": 1})
    for data in wrong:
        with pytest.raises(penstock.PenstockError) as caught:
            conduit.run(data)
        assert caught.value.stage == 1
        # A module declares no shape: only when it is called it turns out that a row does not fit.
        called = one.form != "torch.export" and one.type.name in {"TORCH", "SAFETENSORS"}
        own = one.type.name == "PYTHON" and caught.value.code == "function_failed"
        assert caught.value.code == "input_mismatch" or own or (called and data is not words)


@pytest.mark.parametrize("title", TITLES)
def test_it_is_labelled_as_running_code_on_load_or_not(
    zoo: Any, served: Any, table: Any, title: str
) -> None:
    one = zoo[title]
    (stage,) = served[title].versions()[-1].stages
    assert stage["runs_code"] is one.runs_code
    table[title].columns["code"] = RUNS_CODE[one.runs_code]


@pytest.mark.parametrize("title", TITLES)
def test_it_may_stand_in_a_parallel_branch(zoo: Any, table: Any, title: str) -> None:
    parallel = getattr(penstock, "parallel", None)
    if parallel is None:
        table[title].columns["parallel"] = "–"
        return
    one = zoo[title]
    rows = one.rows[:4]
    found = Conduit("here", None, [parallel([one.stage, one.stage], one.combine)]).run(
        rows.tolist()
    )
    close(found, one.own(rows))
    table[title].columns["parallel"] = "yes"


def joined(found: list[Any]) -> Any:
    """Return the rows of all answers."""
    rows = [row for answer in found for row in answer]
    return np.array(rows) if numbers(rows) else rows


def answers(service: FlowService, bodies: list[Any]) -> list[Any]:
    """Answer calls that wait together."""
    frames = []
    for number, body in enumerate(bodies):
        raw = msgspec.json.encode(body)
        frames.append(
            CallFrame(
                call_id=number,
                run_id=new_run_id(),
                flags=0,
                arrived_ns=0,
                deadline_ns=0,
                media_type="application/json",
                body=memoryview(raw),
                body_size=len(raw),
            )
        )
    replies = service.answer(frames)
    found = [msgspec.json.decode(reply.body) for reply in replies]
    assert all("result" in one for one in found), found
    return [one["result"] for one in found]


def test_the_reference_page_shows_what_was_found(zoo: Any, table: dict[str, Found]) -> None:
    if any(len(found.columns) != 7 for found in table.values()):
        pytest.skip("the table needs all tests of this file")
    rows = []
    for title, found in table.items():
        c = found.columns
        cells = (c["loads"], c["predicts"], c["equals"], c["joined"], c["parallel"], c["served"])
        one = zoo[title]
        rows.append(f"| `{one.type.name}` | {one.form} | {' | '.join(cells)} | {c['code']} |\n")
    shown = model_page.HEAD + "".join(rows)
    assert model_page.block("table", shown) == shown
