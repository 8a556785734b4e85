"""A server whose records are in PostgreSQL: restarts of either, a second server, the password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from postgres_cluster import PASSWORD, Cluster
from run_faults import put

from penstock.stores.migrate import HEAD

Start = Callable[..., Any]


@pytest.fixture
def database(postgres: Cluster) -> Iterator[str]:
    """The name of an empty database; its server runs when the test ends."""
    yield postgres.new_database()
    postgres.start_if_stopped()


def on(url: str) -> dict[str, str]:
    return {"PENSTOCK_DATABASE": url}


def ask(live: Any, method: str, path: str, key: str = "predict", **request: Any) -> httpx2.Response:
    headers = {"Authorization": live.keys[key], **request.pop("headers", {})}
    return httpx2.request(method, f"{live.url}{path}", headers=headers, timeout=60, **request)


def counting(folder: Path) -> tuple[Callable[..., Any], Path]:
    """Return a function that counts its calls in memory, and waits in the worker when told to."""
    gate = folder / "gate"

    def pre(data: Any) -> Any:
        import time

        from penstock import memory

        memory.incr("calls")
        if data[0][0] < 0:
            gate.with_name("inside").touch()
            give_up = time.monotonic() + 60
            while not gate.exists() and time.monotonic() < give_up:
                time.sleep(0.005)
        return data

    return pre, gate


def test_predicts_go_on_while_the_database_is_gone_and_all_recovers_by_itself(
    start_server: Start, postgres: Cluster, database: str, tmp_path: Path
) -> None:
    live = start_server(environment=on(postgres.url(database)))
    pre, gate = counting(tmp_path)
    put(live, pre=pre)
    inside = ask(live, "POST", "/v1/default/flow/predict?async=true", json=[[-1.0]])
    until(gate.with_name("inside").exists)
    postgres.stop("immediate")

    gate.touch()  # its run ends while nothing can be recorded
    for number in range(20):
        answer = ask(live, "POST", "/v1/default/flow/predict", json=[[float(number)]])
        assert (answer.status_code, answer.json()["result"]) == (200, [[float(number)]])
    for path in ("/v1/default/flow/predict?async=true", "/v1/default/flow/predict"):
        sent = {"data": [[1.0]], "webhook_endpoint": "https://hooks.invalid/end"}
        refused = ask(live, "POST", path, json=sent)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "store_unavailable"
    assert "cannot be reached" in ask(live, "GET", "/readyz").json()["stores"]

    postgres.start()
    found = ask(live, "GET", f"{inside.headers['location']}?wait=30").json()
    assert (found["state"], found["result"]) == ("succeeded", [[-1.0]])
    again = ask(live, "POST", "/v1/default/flow/predict?async=true", json=[[3.0]])
    assert again.status_code == 202
    found = ask(live, "GET", f"{again.headers['location']}?wait=30").json()
    assert found["result"] == [[3.0]]
    postgres.stop()
    postgres.start()  # between two requests: it is not noticed
    assert ask(live, "GET", "/readyz").status_code == 200
    assert live.stop() == 0


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_one_server_at_a_time_uses_a_database_also_after_a_lost_connection(
    start_server: Start, postgres: Cluster, database: str, tmp_path: Path
) -> None:
    first = start_server(environment=on(postgres.url(database)))
    put(first)
    with pytest.raises(AssertionError, match=r"(?s)is in use by another process.*Stop the other"):
        start_server(tmp_path / "second", on(postgres.url(database)))
    postgres.execute(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND pid <> pg_backend_pid()",
    )
    second = start_server(tmp_path / "second", on(postgres.url(database)))
    refused = ask(first, "POST", "/v1/default/flow/predict?async=true", json=[[1.0]])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    assert "in use by another process" in refused.json()["error"]["message"]
    assert ask(first, "POST", "/v1/default/flow/predict", json=[[1.0]]).status_code == 200
    assert second.stop() == 0
    until(lambda: ask(first, "GET", "/v1/default/flow", "deploy").status_code == 200)


def test_the_password_is_shown_nowhere(
    start_server: Start, postgres: Cluster, database: str, tmp_path: Path
) -> None:
    live = start_server(
        environment={**on(postgres.tcp_url(database)), "PENSTOCK_LOG_LEVEL": "debug"}
    )
    put(live)
    said = [
        ask(live, "GET", "/v1/status", "admin").text,
        (live.data / "records.database").read_text(),
    ]
    postgres.stop()
    said.append(ask(live, "POST", "/v1/default/flow/predict?async=true", json=[[1.0]]).text)
    said.append(ask(live, "GET", "/readyz").text)
    postgres.start()
    assert live.stop() == 0
    for url in (
        postgres.tcp_url(database, f"{PASSWORD}!"),
        postgres.tcp_url(database).replace("%", "%zz"),
        postgres.tcp_url(database).replace("postgresql", "mysql"),
        postgres.tcp_url(database).replace(str(postgres.port), "none"),
    ):
        with pytest.raises(AssertionError, match="penstock: ") as refused:
            start_server(tmp_path / "other", on(url))
        said.append(str(refused.value))
    for text in (*said, live.log):
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text
        assert PASSWORD[:9] not in text


def doctor(data: Path, url: str | None, *more: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status and the findings of `penstock doctor`."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "doctor", "--json", f"--data={data}", *more],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(on(url) if url else {})},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert PASSWORD not in done.stdout
    return done.returncode, json.loads(done.stdout)["findings"]


def found(findings: list[dict[str, str]], level: str) -> str:
    return "\n".join(f["message"] for f in findings if f["level"] == level)


def test_the_doctor_examines_the_database_also_while_a_server_uses_it(
    start_server: Start, postgres: Cluster, database: str, tmp_path: Path
) -> None:
    url = postgres.tcp_url(database)
    live = start_server(environment=on(url))
    put(live)
    status, findings = doctor(live.data, url)
    assert (status, found(findings, "problem")) == (0, "")
    well = found(findings, "ok")
    assert f"PostgreSQL {postgres.version} at postgresql://penstock@127.0.0.1" in well
    assert f"schema {HEAD} is the present one" in well
    assert "committed is on the database's disk" in well
    assert "1 versions use" in well

    postgres.execute(database, f"ALTER DATABASE {database} SET synchronous_commit = off")
    postgres.execute("postgres", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    try:
        status, findings = doctor(live.data, url)
        assert status == 0
        assert "synchronous_commit is off" in found(findings, "warning")
        assert "fsync is off" in found(findings, "warning")
    finally:
        postgres.execute("postgres", "ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")
    for blob in (live.data / "blobs").glob("??/*"):
        blob.unlink()
    assert "is missing; it is" in found(doctor(live.data, url)[1], "problem")
    postgres.execute(database, "UPDATE schema_version SET version_num = '9999'")
    assert "has schema 9999" in found(doctor(live.data, url)[1], "problem")
    live.kill()
    assert "were not examined" in found(doctor(live.data, None)[1], "warning")
    postgres.stop()
    status, findings = doctor(live.data, url)
    assert status == 1
    assert "cannot be reached" in found(findings, "problem")


def test_a_server_told_another_database_starts_not_and_deletes_nothing(
    start_server: Start, postgres: Cluster, database: str
) -> None:
    live = start_server(environment=on(postgres.url(database)))
    put(live)
    assert live.stop() == 0
    files = sorted((live.data / "blobs").glob("??/*"))
    for path in files:
        os.utime(path, (0, 0))  # as old as what is collected
    other = postgres.url(postgres.new_database())
    with pytest.raises(AssertionError, match="does not have the records of the data folder"):
        start_server(live.data, on(other))
    assert sorted((live.data / "blobs").glob("??/*")) == files
    again = start_server(live.data, on(postgres.url(database)))
    again.keys = live.keys
    until(lambda: ask(again, "GET", "/readyz").status_code == 200)
    assert ask(again, "POST", "/v1/default/flow/predict", json=[[2.0]]).json()["result"] == [[2.0]]


def test_a_folder_s_records_move_to_the_database_and_all_goes_on(
    start_server: Start, postgres: Cluster, database: str, tmp_path: Path
) -> None:
    first = start_server()
    put(first)
    ended = ask(first, "POST", "/v1/default/flow/predict?async=true", json=[[5.0]])
    where = ended.headers["location"]
    assert ask(first, "GET", f"{where}?wait=30").json()["result"] == [[5.0]]
    assert first.stop() == 0
    with pytest.raises(AssertionError, match="has records of its own"):
        start_server(first.data, on(postgres.url(database)))
    command = [sys.executable, "-m", "penstock.cli.main", "move-records", f"--data={first.data}"]
    env = {**os.environ, **on(postgres.url(database))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done.stderr
    assert "1 runs" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert "has no records.sqlite" in again.stderr
    with pytest.raises(AssertionError, match="PENSTOCK_DATABASE is not set"):
        start_server(first.data)
    second = start_server(first.data, on(postgres.url(database)))
    second.keys = first.keys
    assert not (second.data / "records.sqlite").exists()
    assert ask(second, "GET", where).json()["result"] == [[5.0]]
    later = ask(second, "POST", "/v1/default/flow/predict?async=true", json=[[6.0]])
    assert later.status_code == 202
    found = ask(second, "GET", f"{later.headers['location']}?wait=30").json()
    assert found["result"] == [[6.0]]
    second.kill()
    third = start_server(first.data, on(postgres.url(database)))
    third.keys = first.keys
    assert ask(third, "GET", where).json()["result"] == [[5.0]]
    until(lambda: ask(third, "GET", "/readyz").status_code == 200)
