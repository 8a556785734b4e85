"""A local run sees and returns exactly what a served run would."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from penstock.core.errors import FilesNotUsed, FunctionFailed, InputMismatch, LoadFailed
from penstock.core.flow import Flow
from penstock.core.flow import ModelType as M
from penstock.flow.local import LocalFlow
from penstock.flow.memory import get, save


def test_a_local_run_equals_the_served_one_for_every_family(worker, models):
    flow = [(M.TORCH, models.net), (M.XGBOOST_CLASSIFIER, models.xgb, lambda p: {"p": p})]
    local = LocalFlow(Flow.parse(flow))
    (served,) = worker(flow).results(models.x[:3].tolist())
    assert local.run(models.x[:3]) == served
    assert local.run(models.x[:3].tolist()) == served


def test_files_are_paths_bytes_or_named(models, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"one")

    def pre(data, files):
        save("files", [(f.name, f.read().decode()) for f in files])
        return [[1.0, 2.0]]

    flow = [(M.SKLEARN, models.regressor, {"pre": pre, "post": lambda _: get("files")})]
    got = LocalFlow(Flow.parse(flow)).run([], files=[tmp_path / "a.bin", ("b.bin", b"two")])
    assert got == [["a.bin", "one"], ["b.bin", "two"]]


def test_a_local_run_comes_back_to_where_it_started(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neighbour_module.py").write_text("VALUE = 7\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path])

    def pre(data):
        import neighbour_module

        with open("made.txt", "w") as file:
            file.write("x")
        return [[neighbour_module.VALUE, 2.0]]

    path = list(sys.path)
    LocalFlow(Flow.parse([(M.SKLEARN, models.regressor, {"pre": pre})])).run([])
    assert os.getcwd() == str(tmp_path)
    assert sys.path == path
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix) == ["neighbour_module.py"]


def test_errors_are_raised_with_the_users_exception_as_cause(models):
    local = LocalFlow(Flow.parse([(M.SKLEARN, models.regressor, lambda r: 1 / 0)]))
    with pytest.raises(FunctionFailed) as caught:
        local.run([[1, 2]])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(InputMismatch):
        local.run([[1, 2, 3]])
    with pytest.raises(InputMismatch, match="parameters"):
        local.run([[1, 2]], parameters={"a": 1})
    with pytest.raises(FilesNotUsed):
        local.run([[1, 2]], files=[b"x"])


def test_ctrl_c_in_a_local_run_is_ctrl_c(models):
    def post(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalFlow(Flow.parse([(M.SKLEARN, models.regressor, post)])).run([[1, 2]])


def test_memory_lasts_over_local_runs(models):
    first = LocalFlow(Flow.parse([(M.SKLEARN, models.regressor, lambda r: save("l", [1]) or 1)]))
    first.run([[1, 2]])
    second = LocalFlow(Flow.parse([(M.SKLEARN, models.regressor, lambda r: get("l"))]))
    assert second.run([[1, 2]]) == [1]
    assert get("l") == [1]


def test_a_model_that_does_not_load_names_its_stage(models, tmp_path):
    (tmp_path / "net.pt").write_bytes(b"nonsense")
    flow = Flow.parse([(M.SKLEARN, models.regressor), (M.TORCH, tmp_path / "net.pt")])
    with pytest.raises(LoadFailed, match=r"Stage 2 \(TORCH\): net\.pt") as caught:
        LocalFlow(flow)
    assert caught.value.stage == 2


def test_facts_show_models_inputs_and_functions(models):
    flow = Flow.parse([(M.XGBOOST_CLASSIFIER, models.wine_xgb, lambda p: p)])
    (stage,) = LocalFlow(flow).facts()["stages"]
    assert stage["functions"] == ["post"]
    assert stage["inputs"][0]["n_features"] == 13
    assert np.isfinite(stage["classes"])


def test_pair_files_refuses_files_that_are_not_one_for_each_data_point():
    def sizes(data, files):
        return [file.size for file in files]

    flow = Flow.parse((M.PYTHON, lambda value: value, {"pre": sizes}))
    paired, loose = LocalFlow(flow, pair_files=True), LocalFlow(flow)
    assert paired.run(["a", "b"], files=[b"1", b"22"]) == [1, 2]
    assert paired.run([], files=[b"1", b"22"]) == [1, 2]
    assert loose.run(["a", "b"], files=[b"1"]) == [1]
    with pytest.raises(InputMismatch, match=r"2 data point.* and 1 file") as caught:
        paired.run(["a", "b"], files=[b"1"])
    assert caught.value.facts == {"data_points": 2, "files": 1}
