"""Fixed file names in user code never collide; nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.core.flow import ModelType as M


def test_two_runs_in_one_batch_write_the_same_file_name(worker, models):
    def pre(data):
        assert os.listdir() == []
        Path("number.txt").write_text(str(data[0]))
        return [[1.0, 2.0]]

    def post(result):
        return Path("number.txt").read_text()

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre, "post": post})])
    for _ in range(3):
        assert service.results([1], [2], [3]) == [["1"], ["2"], ["3"]]
    assert service.batching()[0]["joined_calls"] == 0


def test_an_absolute_path_stays_right_throughout_the_run(worker, models):
    kept = []

    def first(data):
        path = Path("a.txt").resolve()
        path.write_text("here")
        kept.append(path)
        return [[1.0, 2.0]]

    def post(result):
        return kept[-1].read_text()

    service = worker([(M.SKLEARN, models.regressor, {"pre": first, "post": post})])
    assert service.results([1], [2]) == [["here"], ["here"]]
    assert not any(path.exists() for path in kept)


def test_runs_that_write_nothing_share_one_empty_folder(worker, models):
    seen = []
    flow = [(M.SKLEARN, models.regressor, lambda result: seen.append(os.getcwd()) or 1)]
    service = worker(flow)
    service.results([[1, 2]], [[3, 4]])
    service.results([[1, 2]])
    assert len(set(seen)) == 1
    assert os.listdir(seen[0]) == []


def test_a_function_that_changes_the_directory_changes_it_for_itself_only(worker, models, tmp_path):
    seen = []

    def pre(data):
        seen.append(os.getcwd())
        os.chdir(tmp_path)
        return data

    def post(result):
        seen.append(os.getcwd())
        return 1

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre, "post": post})])
    service.results([[1, 2]], [[3, 4]])
    assert len(set(seen)) == 1
    assert seen[0] != str(tmp_path)


def test_a_run_that_fails_leaves_no_files(worker, models, tmp_path):
    def pre(data):
        Path("left.txt").write_text("x")
        Path("folder").mkdir()
        raise ValueError("no")

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre})])
    service.error([[1, 2]])
    assert not list(tmp_path.rglob("left.txt"))


def test_a_run_that_removes_its_own_folder_goes_on(worker, models):
    def pre(data):
        folder = Path.cwd()
        Path("a").write_text("x")
        Path("a").unlink()
        folder.rmdir()
        return [[1.0, 2.0]]

    def post(result):
        Path("b").write_text("y")
        return Path("b").read_text()

    service = worker([(M.SKLEARN, models.regressor, {"pre": pre, "post": post})])
    assert service.results([1], [2]) == [["y"], ["y"]]
