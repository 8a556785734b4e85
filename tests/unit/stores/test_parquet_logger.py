"""The local prediction log: complete files by day, joined when many, removed when old."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

pq = pytest.importorskip("pyarrow.parquet")

from penstock.core.errors import InvalidSetting  # noqa: E402 - after the skip
from penstock.core.loggers import logger_spec  # noqa: E402
from penstock.stores.loggers import PredictionRow, check_platform  # noqa: E402
from penstock.stores.parquet_logger import (  # noqa: E402
    JOIN_AT,
    ParquetLogger,
    files_of_day,
    remove_old_days,
)

NOON = datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=timezone.utc).timestamp()


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
