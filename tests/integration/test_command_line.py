"""The commands of `penstock` against a real server with a real deployment."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result
from versioned import numbered, put, same_model

from penstock import Endpoint
from penstock.cli.main import build
from penstock.cli.top import sparkline

MAIN = "from penstock.cli.main import main; main()"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return same_model(tmp_path_factory.mktemp("model"))


def wait_for(server: Any, run_id: str) -> str:
    answer = httpx2.get(
        f"{server.url}/v1/default/runs/{run_id}?wait=30",
        headers={"Authorization": server.keys["deploy"]},
        timeout=60,
    )
    return str(answer.json()["state"])


def talking(model: Path) -> list[Any]:
    from penstock import model_type

    def pre(data: Any) -> Any:
        print("looking at", len(data), "rows")
        if data[0][0] < 0:
            raise ValueError("a length below zero")
        return data

    return [(model_type.SKLEARN_PREPROCESSOR, model, {"pre": pre})]


@pytest.fixture
def penstock(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run a command with a deploy key: `penstock("list")`; JSON output is decoded."""
    monkeypatch.setenv("PENSTOCK_SERVER", server.url)
    monkeypatch.setenv("PENSTOCK_API_KEY", server.keys["deploy"])
    monkeypatch.setenv("PENSTOCK_PROFILE", str(tmp_path / "profile.json"))

    def run(*words: str, status: int = 0, **options: Any) -> Any:
        result: Result = CliRunner().invoke(build(), list(words), catch_exceptions=False, **options)
        assert result.exit_code == status, result.output
        return json.loads(result.stdout) if "--json" in words else result.stdout

    return run


@pytest.fixture(scope="module")
def deployed(server: Any, model: Path) -> str:
    put(server, numbered(model, 1), "by-hand")
    put(server, numbered(model, 2), "by-hand")
    return "by-hand"


def test_list_and_show_say_what_is_deployed(penstock: Any, deployed: str) -> None:
    mine = next(d for d in penstock("list", "--json") if d["name"] == deployed)
    assert (mine["state"], mine["active"]) == ("active", 2)
    assert deployed in penstock("list")
    shown = penstock("show", deployed)
    assert mine["endpoint"] in shown
    assert "SKLEARN_PREPROCESSOR" in shown.upper()
    assert penstock("show", deployed, "--json")["traffic"]["errors"] == 0


def test_versions_change_by_command(penstock: Any, deployed: str) -> None:
    assert [v["number"] for v in penstock("versions", deployed, "--json")] == [2, 1]
    assert penstock("rollback", deployed) == f"Version 1 of {deployed} serves.\n"
    assert "· serves" in penstock("versions", deployed)
    assert penstock("activate", deployed, "2", "--json") == {"name": deployed, "active": 2}


def test_predict_reads_its_data_from_the_command_a_file_or_a_pipe(
    penstock: Any, server: Any, deployed: str, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text("[[1.0], [2.0]]")
    wanted = penstock("predict", deployed, "[[1.0], [2.0]]", "--json")["result"]
    assert wanted == Endpoint(
        f"{server.url}/v1/default/{deployed}/predict", server.keys["predict"]
    ).predict([[1.0], [2.0]])
    assert penstock("predict", deployed, f"@{rows}", "--json")["result"] == wanted
    assert penstock("predict", deployed, "-", "--json", input="[[1], [2]]")["result"] == wanted
    assert json.loads(penstock("predict", deployed, f"@{rows}")) == wanted


def test_a_run_is_submitted_shown_with_its_times_and_listed(
    penstock: Any, server: Any, model: Path
) -> None:
    put(server, talking(model), "talking")
    run_id = penstock("predict", "talking", "[[1.0]]", "--no-wait").strip()
    assert wait_for(server, run_id) == "succeeded"
    shown = penstock("run", run_id, "--json", "--logs")
    assert shown["run"]["run_id"] == run_id
    assert run_id in penstock("runs", "talking")


def test_the_log_has_what_functions_printed(penstock: Any, server: Any, model: Path) -> None:
    put(server, talking(model), "printing")
    penstock("predict", "printing", "[[1.0], [2.0]]")
    deadline = time.monotonic() + 20
    while "looking at 2 rows" not in penstock("logs", "printing", "--level", "print"):
        assert time.monotonic() < deadline  # lines are kept once a second
    objects = penstock("logs", "printing", "--text", "looking at").splitlines()
    assert len(objects) == 1


def test_scale_and_top_show_replicas(penstock: Any, deployed: str) -> None:
    assert penstock("scale", deployed, "--max", "2", "--json")["max_replicas"] == 2
    penstock("predict", deployed, "[[1.0]]")
    assert deployed in penstock("top", "--once")
    assert "deployments" in penstock("top", "--json")


def test_delete_asks_first(penstock: Any, server: Any, model: Path) -> None:
    put(server, numbered(model, 1), "unwanted")
    penstock("delete", "unwanted", input="n\n", status=1)
    assert "unwanted" in penstock("list")
    assert "Deleted" in penstock("delete", "unwanted", "--yes")
    assert "unwanted" not in penstock("list")


def test_config_never_shows_a_whole_key(penstock: Any, server: Any) -> None:
    assert server.keys["deploy"] not in penstock("config")
    shown = penstock("config", "--json")
    assert shown["server_from"] == "the environment (PENSTOCK_SERVER)"
    assert server.keys["deploy"].startswith(shown["key"].rstrip("…"))


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["show", "nowhere"], 1, "nowhere"),
        (["predict", "by-hand", "not json"], 1, "not JSON"),
        (["predict"], 2, "Missing argument"),
    ],
)
def test_the_exit_status_says_what_kind_of_mistake_it_was(
    penstock: Any, server: Any, deployed: str, words: list[str], status: int, says: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, *words], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == status, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_server_the_status_is_3(penstock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_SERVER", "http://127.0.0.1:9")
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, "list"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 3
    assert "penstock serve" in ended.stderr


def test_a_line_of_bars_is_as_high_as_its_largest_value() -> None:
    assert sparkline([0, 1, 2, 4]) == " ▂▄█"
    assert sparkline([0.0, 0.0]) == "  "
    assert len(sparkline([float(n) for n in range(100)], 30)) <= 30
