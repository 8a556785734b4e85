"""Predictions of a real server end in Parquet files; where they cannot, no request notices."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import Conduit, Endpoint, deploy, model_type
from penstock.core.errors import InvalidSetting, NotReady
from penstock.core.loggers import LoggerSpec

pq = pytest.importorskip("pyarrow.parquet")
LIMIT_S = 60.0


def double(rows: Any) -> Any:
    return [[2 * value for value in row] for row in rows]


FLOW = [(model_type.PYTHON, double)]


@pytest.fixture(scope="module")
def live(
    launch_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    made = launch_server(tmp_path_factory.mktemp("logging") / "data")
    yield made
    assert made.stop() == 0, made.log


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


def test_what_was_answered_before_the_server_stopped_is_in_the_log(
    start_server: Callable[..., Any],
) -> None:
    live = start_server()
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


def call_once_it_is_started(live: Any, name: str) -> None:
    endpoint = Endpoint(f"{live.url}/v1/default/{name}/predict", live.keys["deploy"])
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            endpoint.predict([[1]])
            return
        except NotReady:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_versions_go_on_logging_after_a_restart_and_keys_are_nowhere(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    held = {"PENSTOCK_LOGGER_TOKEN": "hush-hush"}
    first = start_server(data=tmp_path / "data", environment=held)
    loggers = [{"platform": "parquet", "platform_authentication": {"token": "$TOKEN"}}]
    key = first.keys["deploy"]
    deploy(FLOW, "again", key, server=first.url, quiet=True, loggers=loggers)
    request = urllib.request.Request(
        f"{first.url}/v1/default/again/versions/1", headers={"Authorization": key}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        shown = answer.read().decode()
    assert '"platform":"parquet"' in shown
    assert '"token":"$TOKEN"' in shown
    assert first.stop() == 0
    for path in (tmp_path / "data").rglob("*.db*"):
        assert b"hush-hush" not in path.read_bytes()
    second = start_server(data=tmp_path / "data", environment=held)
    second.keys.update(first.keys)
    call_once_it_is_started(second, "again")
    assert logged(second, "again", 1)


def test_a_key_in_the_records_of_an_earlier_release_is_told_of_and_goes_on_working(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = start_server(data=data, environment={"PENSTOCK_LOGGER_TOKEN": "any"})
    loggers = [{"platform": "parquet", "platform_authentication": {"token": "$TOKEN"}}]
    deploy(FLOW, "early", first.keys["deploy"], server=first.url, quiet=True, loggers=loggers)
    assert first.stop() == 0
    with contextlib.closing(sqlite3.connect(data / "records.sqlite")) as records, records:
        records.execute("UPDATE versions SET settings = replace(settings, '$TOKEN', 'hush-hush')")
    doctor = [sys.executable, "-m", "penstock.cli.main", "doctor", "--json", f"--data={data}"]
    done = subprocess.run(doctor, capture_output=True, text=True, timeout=60, check=False)
    (said,) = [f for f in json.loads(done.stdout)["findings"] if "readable" in f["message"]]
    assert said["level"] == "warning"
    assert "default/early version 1 keeps the token of its logger 'parquet'" in said["message"]
    second = start_server(data=data)
    second.keys.update(first.keys)
    call_once_it_is_started(second, "early")
    assert logged(second, "early", 1)
    assert "default/early version 1 keeps the token of its logger 'parquet'" in second.log
    assert "hush-hush" not in second.log + done.stdout


def test_a_key_that_a_client_writes_out_is_refused_by_the_server_too(live: Any) -> None:
    conduit = Conduit("plain-key", live.keys["deploy"], FLOW, server=live.url, quiet=True)
    conduit.loggers.append(LoggerSpec("parquet", authentication={"token": "hush-hush"}))
    with pytest.raises(InvalidSetting, match="has its token written out") as caught:
        conduit.deploy()
    assert "PENSTOCK_LOGGER_PARQUET_TOKEN" in str(caught.value.hint)
    assert "hush-hush" not in str(caught.value)


def test_a_logger_the_server_lacks_is_refused_before_anything_is_loaded(live: Any) -> None:
    conduit = Conduit("refused", live.keys["deploy"], FLOW, server=live.url, quiet=True)
    conduit.add_logger("arize", {"api_key": "$A", "space_id": "$B"})
    with pytest.raises(InvalidSetting, match="arize"):
        conduit.deploy()
    conduit.loggers.clear()
    conduit.add_logger("censius", {"api_key": "$NOT_SET"})
    with pytest.raises(InvalidSetting, match="no logging platform 'censius'"):
        conduit.deploy()


OTHER = '''
import json, os

class ToLines:
    """Writes rows as lines, in milliseconds where it was asked for them."""

    def __init__(self, spec):
        self.spec = spec
        self.path = spec.arguments["path"]

    def write(self, rows):
        scale = 1000 if self.spec.log_ms else 1
        with open(self.path, "a") as file:
            for row in rows:
                told = {"id": row.prediction_id, "time": row.time * scale, "in": row.features,
                        "out": row.outputs, "key": self.spec.authentication["api_key"]}
                print(json.dumps(told), file=file)

    def close(self):
        with open(self.path, "a") as file:
            print(json.dumps("closed"), file=file)

def make(spec, folder):
    return ToLines(spec)
'''


def test_a_package_beside_the_server_adds_a_platform(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    package, lines = tmp_path / "package", tmp_path / "lines.jsonl"
    facts = package / "penstock_lines-1.0.dist-info"
    facts.mkdir(parents=True)
    (package / "penstock_lines.py").write_text(OTHER)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: penstock-lines\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[penstock.loggers]\nlines = penstock_lines:make\n")
    live = start_server(
        environment={"PYTHONPATH": str(package), "PENSTOCK_LOGGER_LINES_KEY": "right"}
    )
    conduit = Conduit("areas", live.keys["deploy"], FLOW, server=live.url, quiet=True)
    conduit.add_logger(
        "lines", {"api_key": "$LINES_KEY"}, ["a", "b"], ["c", "d"], {"path": str(lines)}, True
    )
    before = time.time()
    answer = conduit.deploy().call([[1, 2], [3, 4]])
    assert live.stop() == 0, live.log
    *rows, end = [json.loads(line) for line in lines.read_text().splitlines()]
    assert end == "closed"
    assert [row["id"] for row in rows] == answer.prediction_ids
    assert [row["in"] for row in rows] == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
    assert [row["out"] for row in rows] == [{"c": 2.0, "d": 4.0}, {"c": 6.0, "d": 8.0}]
    assert all(before * 1000 <= row["time"] <= time.time() * 1000 for row in rows)
    assert {row["key"] for row in rows} == {"right"}
