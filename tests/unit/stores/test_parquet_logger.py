"""The local prediction log: complete files by day, joined when many, removed when old."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from penstock.core import faults  # noqa: E402 - after the skip
from penstock.core.errors import InvalidSetting  # noqa: E402
from penstock.core.loggers import logger_spec  # noqa: E402
from penstock.stores.loggers import PredictionRow, check_platform  # noqa: E402
from penstock.stores.parquet_logger import (  # noqa: E402
    JOIN_AT,
    ParquetLogger,
    files_of_day,
    remove_old_days,
)
from penstock.wiring.logger_lane import Lane  # noqa: E402

NOON = datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=timezone.utc).timestamp()


#: Files that are no Parquet: empty, as a power cut may leave one; garbage; cut short.
BAD = {"000.parquet": b"", "120000-x.parquet": b"garbage" * 9, "999.parquet": b"PAR1\x15\x04"}


def row(index: int = 0, at: float = NOON, **more: Any) -> PredictionRow:
    usual = PredictionRow(
        prediction_id=f"r-{index}", run_id="r", index=index, time=at, project="default",
        deployment="wine", version=2, run_time_ms=1.25, input="[1,2]", result=None,
        features={"a": 1.0, "b": None}, features_text={"c": "x"}, outputs={}, outputs_text={},
        files=0,
    )  # fmt: skip
    return dataclasses.replace(usual, **more)


def day(folder: Path, name: str = "2026-03-04") -> Path:
    return folder / "default" / "wine" / name


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    ParquetLogger(tmp_path).write([row(), row(1)])
    (file,) = files_of_day(day(tmp_path))
    one, two = pq.read_table(file).to_pylist()
    assert one["time"] == datetime.fromtimestamp(NOON, timezone.utc)
    assert dict(one["features"]) == {"a": 1.0, "b": None}
    assert dict(one["features_text"]) == {"c": "x"}
    assert (one["version"], one["input"], one["result"]) == (2, "[1,2]", None)
    assert two["prediction_id"] == "r-1"


def test_each_day_has_its_folder(tmp_path: Path) -> None:
    ParquetLogger(tmp_path).write([row(), row(at=NOON + 86400)])
    assert len(files_of_day(day(tmp_path))) == len(files_of_day(day(tmp_path, "2026-03-05"))) == 1


def test_many_small_files_are_joined_and_no_row_is_lost(tmp_path: Path) -> None:
    logger = ParquetLogger(tmp_path)
    for index in range(JOIN_AT + 3):
        logger.write([row(index)])
    files = files_of_day(day(tmp_path))
    assert len(files) == 4
    ids = [i for file in files for i in pq.read_table(file)["prediction_id"].to_pylist()]
    assert sorted(ids) == sorted(f"r-{i}" for i in range(JOIN_AT + 3))
    assert [p for p in day(tmp_path).iterdir() if p.name.startswith(".")] == []


def ids(folder: Path) -> list[str]:
    """Return the ids of all rows that can be read below a folder, sorted."""
    files = [file for file in folder.rglob("*.parquet") if file.name not in BAD]
    return sorted(i for file in files for i in pq.read_table(file)["prediction_id"].to_pylist())


def spoil(place: Path) -> None:
    """Put files into a day's folder that cannot be read, before and among the others."""
    place.mkdir(parents=True, exist_ok=True)
    for name, content in BAD.items():
        (place / name).write_bytes(content)


def test_files_that_cannot_be_read_are_left_and_the_others_are_joined(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(day(tmp_path))
    logger = ParquetLogger(tmp_path)
    for index in range(2 * JOIN_AT):
        logger.write([row(index)])
    assert {p.name: p.read_bytes() for p in files_of_day(day(tmp_path)) if p.name in BAD} == BAD
    assert len(files_of_day(day(tmp_path))) < JOIN_AT
    assert ids(tmp_path) == sorted(f"r-{index}" for index in range(2 * JOIN_AT))
    assert [str(day(tmp_path)) in told for told in caplog.messages] == [True]


def test_a_file_that_cannot_be_read_costs_no_deployment_a_row_and_doubles_none(
    tmp_path: Path,
) -> None:
    spoil(day(tmp_path))
    logger = ParquetLogger(tmp_path)
    for index in range(JOIN_AT - 4):
        logger.write([row(index)])
    lane = Lane("parquet", logger, pauses_s=(0.0, 0.0))
    lane.put([row(100), row(101, at=NOON + 86400), row(102, deployment="beer")])
    lane.end()
    lane.join()
    assert lane.dropped == 0
    assert ids(tmp_path) == sorted(f"r-{i}" for i in (*range(JOIN_AT - 4), 100, 101, 102))


def test_files_of_others_with_other_columns_are_left_as_they_are(tmp_path: Path) -> None:
    day(tmp_path).mkdir(parents=True)
    other = pa.table({"prediction_id": ["mine"], "label": [1]})
    pq.write_table(other, day(tmp_path) / "labels.parquet")
    logger = ParquetLogger(tmp_path)
    for index in range(JOIN_AT):
        logger.write([row(index)])
    assert pq.read_table(day(tmp_path) / "labels.parquet").equals(other)
    assert ids(tmp_path) == sorted(["mine", *(f"r-{index}" for index in range(JOIN_AT))])


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    faults.arm("")


@pytest.mark.usefixtures("disarmed")
def test_a_disk_that_is_full_while_files_are_joined_costs_nothing(tmp_path: Path) -> None:
    faults.arm(f"predictions.syncing=enospc:{JOIN_AT + 1}")
    logger = ParquetLogger(tmp_path)
    for index in range(JOIN_AT):
        logger.write([row(index)])
    assert len(os.listdir(day(tmp_path))) == len(files_of_day(day(tmp_path))) == JOIN_AT
    assert ids(tmp_path) == sorted(f"r-{index}" for index in range(JOIN_AT))
    logger.write([row(JOIN_AT)])  # there is room again
    assert len(os.listdir(day(tmp_path))) == 2
    assert ids(tmp_path) == sorted(f"r-{index}" for index in range(JOIN_AT + 1))


@pytest.mark.usefixtures("disarmed")
def test_rows_that_are_not_on_the_disk_are_not_there(tmp_path: Path) -> None:
    faults.arm("predictions.syncing=eio")
    logger = ParquetLogger(tmp_path)
    with pytest.raises(OSError, match="Input/output"):
        logger.write([row()])
    assert os.listdir(day(tmp_path)) == []
    logger.write([row()])
    assert ids(tmp_path) == ["r-0"]


def test_a_file_that_was_joined_and_cannot_be_removed_is_not_joined_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = ParquetLogger(tmp_path)
    logger.write([row()])
    (stays,) = files_of_day(day(tmp_path))
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == stays:
            raise PermissionError("immutable")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    for index in range(1, 3 * JOIN_AT):
        logger.write([row(index)])
    assert ids(tmp_path) == sorted(["r-0", *(f"r-{index}" for index in range(3 * JOIN_AT))])


def test_a_write_that_fails_leaves_no_half_file(tmp_path: Path) -> None:
    logger = ParquetLogger(tmp_path)
    day(tmp_path).mkdir(parents=True)
    (day(tmp_path) / "x").touch()
    broken = dataclasses.replace(row(), features={"a": "no number"})  # type: ignore[dict-item]
    with pytest.raises(Exception, match="no number"):
        logger.write([broken])
    assert os.listdir(day(tmp_path)) == ["x"]


def test_days_before_the_kept_ones_are_removed(tmp_path: Path) -> None:
    logger = ParquetLogger(tmp_path)
    for days in (0, 1, 5):
        logger.write([row(at=NOON - days * 86400)])
    assert remove_old_days(tmp_path, 0, NOON) == 0
    assert remove_old_days(tmp_path, 2, NOON) == 1
    assert sorted(p.name for p in day(tmp_path).parent.iterdir()) == ["2026-03-03", "2026-03-04"]
    assert remove_old_days(tmp_path, 1, NOON + 30 * 86400) == 2
    assert not day(tmp_path).parent.exists()


def test_a_platform_nobody_knows_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidSetting, match=r"no logging platform 'censius'.*'parquet'"):
        check_platform("censius")


def test_references_take_only_variables_that_are_meant_for_loggers() -> None:
    spec = logger_spec("parquet", {"api_key": "$KEY"})
    with pytest.raises(InvalidSetting, match="PENSTOCK_LOGGER_KEY, which is not set"):
        spec.resolved({"KEY": "secret"})
    found = spec.resolved({"PENSTOCK_LOGGER_KEY": "secret"})
    assert found.authentication == {"api_key": "secret"}
    assert found.hidden().authentication == {"api_key": "***"}
    assert spec.hidden().authentication["api_key"] == "$KEY"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"platform": 3}, "not a name"),
        ({"platform": "parquet", "features": 7}, "list of names"),
        ({"platform": "parquet", "features": ["a", "a"]}, "a name twice"),
        ({"platform": "parquet", "platform_authentication": {"k": 1}}, "texts by name"),
        ({"platform": "parquet", "platform_authentication": {"k": "v"}}, "k written out"),
    ],
)
def test_what_cannot_be_a_logger_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        logger_spec(**arguments)
