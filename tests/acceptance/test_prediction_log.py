"""Predictions of a real server end in Parquet files; where they cannot, no request notices."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock import Conduit, Endpoint, deploy, model_type
from penstock.core.errors import InvalidSetting, NotReady

pq = pytest.importorskip("pyarrow.parquet")
LIMIT_S = 60.0


def double(rows: Any) -> Any:
    return [[2 * value for value in row] for row in rows]


FLOW = [(model_type.PYTHON, double)]


@pytest.fixture
def live(start_server: Callable[..., Any]) -> Any:
    return start_server()


def logged(live: Any, name: str, many: int) -> list[dict[str, Any]]:
    """Return the rows of a deployment once there are so many."""
    until = time.monotonic() + LIMIT_S
    while True:
        found = [row for file in files(live, name) for row in _read(file)]
        if len({row["prediction_id"] for row in found}) >= many:
            return found
        assert time.monotonic() < until, f"{len(found)} of {many} rows; {live.log}"
        time.sleep(0.05)


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        return pq.read_table(file).to_pylist()
    except FileNotFoundError:  # joined into a larger one meanwhile
        return []


def files(live: Any, name: str) -> list[Path]:
    folder = Path(live.data) / "predictions" / "default" / name
    return sorted(path for path in folder.glob("*/*.parquet") if not path.name.startswith("."))


def test_every_prediction_has_a_row_that_its_id_finds(live: Any) -> None:
    conduit = Conduit("doubled", live.keys["deploy"], FLOW, server=live.url, quiet=True)
    conduit.add_logger(features=["width", "height"], targets=["wide", "high"])
    endpoint = conduit.deploy()
    answer = endpoint.call([[1, 2], [3, 4]])
    rows = {row["prediction_id"]: row for row in logged(live, "doubled", 2)}
    assert list(rows) == answer.prediction_ids
    second = rows[answer.prediction_ids[1]]
    assert dict(second["features"]) == {"width": 3.0, "height": 4.0}
    assert dict(second["outputs"]) == {"wide": 6.0, "high": 8.0}
    assert (second["run_id"], second["version"], second["index"]) == (answer.run_id, 1, 1)
    assert second["run_time_ms"] == pytest.approx(answer.run_time_ms)
    assert abs(second["time"].timestamp() - time.time()) < LIMIT_S


def test_failed_runs_and_other_deployments_are_not_logged(live: Any) -> None:
    key = live.keys["deploy"]
    loggers = [{"platform": "parquet"}]
    watched = deploy(FLOW, "watched", key, server=live.url, quiet=True, loggers=loggers)
    silent = deploy(FLOW, "silent", key, server=live.url, quiet=True)
    with pytest.raises(Exception, match="int"):
        watched.predict([1])
    silent.predict([[1]])
    watched.predict([[1]])
    assert len(logged(live, "watched", 1)) == 1
    assert files(live, "silent") == []


def test_a_writer_that_is_killed_is_replaced_and_no_call_notices(live: Any) -> None:
    loggers = [{"platform": "parquet"}]
    endpoint = deploy(
        FLOW, "go-on", live.keys["deploy"], server=live.url, quiet=True, loggers=loggers
    )
    endpoint.predict([[1]])
    logged(live, "go-on", 1)
    (pid,) = writers(live)
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + LIMIT_S
    while len(logged(live, "go-on", 1)) < 3:
        assert endpoint.predict([[1]]) == [[2]]
        assert time.monotonic() < until
        time.sleep(0.1)
    assert writers(live) != [pid]


def writers(live: Any) -> list[int]:
    """Return the ids of the server's processes that write predictions."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        mine = str(Path(live.data) / "predictions").encode() in arguments
        if mine and b"penstock.wiring.logger_process" in arguments:
            found.append(int(folder.name))
    return found


def test_what_was_answered_before_the_server_stopped_is_in_the_log(live: Any) -> None:
    loggers = [{"platform": "parquet"}]
    endpoint = deploy(
        FLOW, "to-end", live.keys["deploy"], server=live.url, quiet=True, loggers=loggers
    )
    for number in range(50):
        endpoint.predict([[number]])
    assert live.stop() == 0
    rows = [row for file in files(live, "to-end") for row in _read(file)]
    values = sorted(dict(row["features"])["0"] for row in rows)
    assert values == list(map(float, range(50))), live.log
    assert writers(live) == []


def test_versions_go_on_logging_after_a_restart_and_keys_are_not_shown(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    first = start_server(data=tmp_path / "data")
    loggers = [{"platform": "parquet", "platform_authentication": {"token": "hush-hush"}}]
    key = first.keys["deploy"]
    deploy(FLOW, "again", key, server=first.url, quiet=True, loggers=loggers)
    request = urllib.request.Request(
        f"{first.url}/v1/default/again/versions/1", headers={"Authorization": key}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        shown = answer.read().decode()
    assert '"platform":"parquet"' in shown
    assert "hush-hush" not in shown
    assert first.stop() == 0
    second = start_server(data=tmp_path / "data")
    again = Endpoint(f"{second.url}/v1/default/again/predict", key)
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            again.predict([[1]])
            break
        except NotReady:  # it is being started
            assert time.monotonic() < until
            time.sleep(0.05)
    assert logged(second, "again", 1)


def test_a_logger_the_server_lacks_is_refused_before_anything_is_loaded(live: Any) -> None:
    conduit = Conduit("refused", live.keys["deploy"], FLOW, server=live.url, quiet=True)
    conduit.add_logger("arize", {"api_key": "a", "space_id": "b"})
    with pytest.raises(InvalidSetting, match="arize"):
        conduit.deploy()
