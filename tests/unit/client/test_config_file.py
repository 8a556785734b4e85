"""A conduit as a file: all of it comes back, its key never goes in."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

from penstock import Conduit, PluginType, get, hardware, model_type, parallel, switch
from penstock.core.errors import InterpreterMismatch, InvalidSetting
from penstock.core.flow import Flow

OFFSET = 7


@pytest.fixture
def wine(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "wine.pkl"
    path.parent.mkdir()
    x, y = load_wine(return_X_y=True)
    path.write_bytes(pickle.dumps(LogisticRegression(max_iter=5000).fit(x / 100, y)))
    return path


def make(wine: Path, **options: Any) -> Conduit:
    def scaled(data: Any) -> Any:
        return [[value / 100 for value in row] for row in data]

    def label(result: Any) -> Any:
        return [get("names")[i] for i in result.argmax(axis=1)]

    stage = (
        model_type.SKLEARN_CLASSIFIER,
        wine,
        {"setup": lambda: {"names": ["a", "b", "c"]}, "pre": scaled, "post": label},
    )
    branches = {"wine": stage, "other": [(model_type.PYTHON, lambda rows: [OFFSET] * len(rows))]}
    flow = [switch(lambda data: "wine" if len(data[0]) == 13 else "other", branches)]
    return Conduit("wine", "pk_d_secret", flow, **options)


def test_what_is_written_answers_the_same_when_read_elsewhere(wine: Path) -> None:
    rows = load_wine(return_X_y=True)[0][::20].tolist()
    here = make(wine, max_batch=17, replicas=2)
    path = here.create_json_config(wine.parent.parent / "conduit.json")
    moved = wine.parent.parent.rename(wine.parent.parent.with_name("elsewhere"))
    again = Conduit(from_json=moved / path.name)
    assert (again.name, again._options.max_batch, again._options.replicas) == ("wine", 17, 2)
    assert again.run([[1]]) == [OFFSET]
    assert again.run(rows) == make(moved / "models" / "wine.pkl").run(rows)


def test_every_argument_of_a_conduit_comes_back(wine: Path, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("colorama\n")
    given = {
        "hardware": hardware.CPU, "cpu": 3, "memory": 2.5, "gpu": 2, "python_version": "3.12",
        "requirements_file": tmp_path / "requirements.txt", "requirements": ["colorama"],
        "cooldown": 7.5, "min_replicas": 1, "max_replicas": 4, "force_rebuild": True,
        "secrets": ["TOKEN"], "network": "none", "concurrency": 3, "pair_files": True,
    }  # fmt: skip
    again = Conduit(from_json=make(wine, **given).create_json_config(tmp_path / "c.json"))
    flow = Flow.parse(again.flow)
    mine, theirs = make(wine, **given)._options, again._options
    assert theirs.settings(flow) == mine.settings(flow)
    assert theirs.scaling() == mine.scaling()
    for name in ("python_version", "requirements", "force_rebuild", "pair_files", "cpu", "memory"):
        assert getattr(theirs, name) == given[name]
    assert Path(str(theirs.requirements_file)) == given["requirements_file"]


def test_a_model_that_is_an_object_is_saved_beside_the_file(tmp_path: Path) -> None:
    rows, kinds = load_wine(return_X_y=True)
    model = LogisticRegression(max_iter=5000).fit(rows / 100, kinds)
    flow = [parallel([(model_type.SKLEARN_CLASSIFIER, model)] * 2, "mean")]
    here = Conduit("live", None, flow)
    (tmp_path / "one").mkdir()
    for _ in range(2):  # a second time over the first
        here.create_json_config(tmp_path / "one" / "live.json")
    (tmp_path / "one").rename(tmp_path / "two")
    again = Conduit(from_json=tmp_path / "two" / "live.json")
    assert again.run(rows[:3].tolist()) == here.run(rows[:3].tolist())
    assert len(list((tmp_path / "two" / "live-models").rglob("*.skops"))) == 2


def test_weights_a_pipeline_and_a_type_of_a_package_come_back(tmp_path: Path) -> None:
    import torch

    def net() -> Any:
        return torch.nn.Linear(2, 1)

    torch.save(torch.nn.Linear(2, 1).state_dict(), tmp_path / "net.pt")
    (tmp_path / "judge").mkdir()
    (tmp_path / "x.lof").write_bytes(b"x")
    kind = PluginType("lof", suffixes=(".lof",))
    arguments = {"task": "text-classification", "model": tmp_path / "judge", "top_k": 2}
    stages = [
        (model_type.TORCH, tmp_path / "net.pt", {"model": net}),
        (model_type.HUGGINGFACE_PIPELINE, arguments),
        (kind, tmp_path / "x.lof"),
    ]
    path = Conduit("three", None, stages).create_json_config(tmp_path / "c.json")
    told = json.loads(path.read_text())["flow"]
    assert told[1]["folders"] == {"model": "judge"}
    weights, pipeline, added = Flow.parse(Conduit(from_json=path).flow).stages
    rows = [[1.0, 2.0]]
    assert weights.build is not None
    assert Conduit("w", None, stages[:1]).run(rows) == Conduit(
        "w", None, Conduit(from_json=path).flow[:1]
    ).run(rows)
    assert pipeline.source == Flow.parse(stages).stages[1].source
    assert (added.model_type, added.source) == (kind, tmp_path / "x.lof")


def test_arguments_come_before_what_the_file_says(wine: Path, tmp_path: Path) -> None:
    path = make(wine, max_batch=17, timeout_s=5).create_json_config(tmp_path / "c.json")
    again = Conduit("other", from_json=path, max_batch=3)
    assert (again.name, again._options.max_batch, again._options.timeout_s) == ("other", 3, 5)


def test_the_key_is_in_no_file_nor_a_loggers(wine: Path, tmp_path: Path) -> None:
    conduit = make(wine)
    conduit.add_logger("arize", {"api_key": "$KEY", "space_id": "$SPACE"}, features=["x"])
    with pytest.raises(InvalidSetting, match="written out"):
        conduit.add_logger("arize", {"api_key": "hush-hush", "space_id": "$SPACE"})
    path = conduit.create_json_config(tmp_path / "c.json")
    text = path.read_text()
    assert "pk_d_secret" not in text
    (logger,) = Conduit(from_json=path).loggers
    assert (logger.platform, logger.features) == ("arize", ("x",))
    assert logger.authentication == {"api_key": "$KEY", "space_id": "$SPACE"}


def test_source_text_is_beside_the_functions_for_people(wine: Path, tmp_path: Path) -> None:
    path = make(wine).create_json_config(tmp_path / "c.json")
    (stage,) = json.loads(path.read_text())["flow"]
    pre = stage["branches"]["wine"][0]["functions"]["pre"]
    assert "value / 100" in pre["source"]


def test_parallel_branches_come_back_as_a_list_or_by_name(tmp_path: Path) -> None:
    one = (model_type.PYTHON, lambda rows: [1.0] * len(rows))
    two = (model_type.PYTHON, lambda rows: [3.0] * len(rows))
    for flows, want in (
        ([one, two], [[1.0], [3.0]]),
        ({"x": one, "y": two}, {"x": [1.0], "y": [3.0]}),
    ):
        for combine, result in ((None, want), ("mean", [2.0]), (lambda r: {"n": len(r)}, {"n": 2})):
            conduit = Conduit("p", "k", [parallel(flows, combine)])
            path = conduit.create_json_config(tmp_path / "p.json")
            assert Conduit(from_json=path).run([0]) == result


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 99}'])
def test_a_file_of_another_kind_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(InvalidSetting, match=r"odd\.json"):
        Conduit(from_json=path)


def test_functions_of_another_python_are_not_unpickled(wine: Path, tmp_path: Path) -> None:
    path = make(wine).create_json_config(tmp_path / "c.json")
    found = json.loads(path.read_text())
    found["interpreter"] = {**found["interpreter"], "magic": "00000000", "version": "3.4.1"}
    path.write_text(json.dumps(found))
    with pytest.raises(InterpreterMismatch):
        Conduit(from_json=path)


def test_an_option_without_a_json_form_is_named(wine: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="option example"):
        make(wine, example=object()).create_json_config(tmp_path / "c.json")
