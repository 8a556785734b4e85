"""The commands of `penstock` against a real server with a real deployment."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result
from versioned import numbered, put, same_model

from penstock import Endpoint
from penstock.cli.main import build
from penstock.cli.top import _interrupts, sparkline

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
    replica = "{number}, process {pid}".format(**shown["run"]["replica"])
    assert f"replica  {replica}" in penstock("run", run_id)
    assert run_id in penstock("runs", "talking")


def test_the_log_has_what_functions_printed(penstock: Any, server: Any, model: Path) -> None:
    put(server, talking(model), "printing")
    penstock("predict", "printing", "[[1.0], [2.0]]")
    deadline = time.monotonic() + 60
    while "looking at 2 rows" not in penstock("logs", "printing", "--level", "print"):
        assert time.monotonic() < deadline  # lines are kept once a second
    objects = penstock("logs", "printing", "--text", "looking at").splitlines()
    assert len(objects) == 1


def test_scale_and_top_show_replicas(penstock: Any, deployed: str) -> None:
    assert penstock("scale", deployed, "--max", "2", "--json")["max_replicas"] == 2
    penstock("predict", deployed, "[[1.0]]")
    assert deployed in penstock("top", "--once")
    assert "deployments" in penstock("top", "--json")


class OnTerminal:
    """A command of `penstock` on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.terminal, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *words],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        )
        os.close(inner)

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)

    def read_until(self, text: str) -> None:
        seen, until = "", time.monotonic() + 60
        while text not in seen and time.monotonic() < until:
            if select.select([self.terminal], [], [], 1)[0]:
                seen += os.read(self.terminal, 1 << 16).decode(errors="replace")
        assert text in seen

    def press_q(self) -> None:
        os.write(self.terminal, b"q")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [OnTerminal.press_q, OnTerminal.interrupt])
def test_top_draws_again_and_again_until_q_or_ctrl_c(
    penstock: Any, deployed: str, end: Callable[[OnTerminal], None]
) -> None:
    with OnTerminal("top", "--every", "0.2") as top:
        for _ in range(3):
            top.read_until(deployed)
        end(top)
        top.read_until("\x1b[?1049l")  # back to the screen that was there before
        assert top.process.wait(60) == 0


def test_a_ctrl_c_whose_exception_is_lost_is_noted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _interrupts() as noted:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert noted == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before


def test_top_keeps_its_figures_while_the_server_is_away(
    penstock: Any, start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_server()
    monkeypatch.setenv("PENSTOCK_SERVER", first.url)
    monkeypatch.setenv("PENSTOCK_API_KEY", first.keys["deploy"])
    with OnTerminal("top", "--every", "0.2") as top:
        top.read_until(f"default on {first.url}")
        assert first.stop() == 0
        top.read_until("No connection")
        start_server(data=first.data, port=first.url.rpartition(":")[2])
        top.read_until(f"default on {first.url}")
        top.press_q()
        top.read_until("\x1b[?1049l")
        assert top.process.wait(60) == 0


def test_delete_asks_first(penstock: Any, server: Any, model: Path) -> None:
    put(server, numbered(model, 1), "unwanted")
    penstock("delete", "unwanted", input="n\n", status=1)
    assert "unwanted" in penstock("list")
    assert "Deleted" in penstock("delete", "unwanted", "--yes")
    assert "unwanted" not in penstock("list")


def test_files_are_listed_fetched_and_deleted(
    penstock: Any, server: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock import upload

    def post(result: Any) -> Any:
        with open("report.txt", "w") as file:
            file.write("so many rows")
        return [upload("report.txt")]

    from penstock import model_type

    flow = [(model_type.SKLEARN_PREPROCESSOR, model, {"post": post})]
    endpoint = put(server, flow, "hands-out")
    endpoint.predict([[1.0]])
    (found,) = [
        f for f in penstock("files", "list", "--json")["files"] if f["name"] == "report.txt"
    ]
    assert "report.txt" in penstock("files", "list")
    monkeypatch.chdir(tmp_path)
    assert "Wrote report.txt" in penstock("files", "get", found["file_id"])
    assert (tmp_path / "report.txt").read_text() == "so many rows"
    other = tmp_path / "other.txt"
    told = penstock("files", "get", found["file_id"], "--to", str(other), "--json")
    assert (told["size"], other.read_text()) == (12, "so many rows")
    penstock("files", "delete", found["file_id"], status=1, input="n\n")
    assert "Deleted report.txt" in penstock("files", "delete", found["file_id"], "--yes")
    listed = penstock("files", "list", "--json")["files"]
    assert found["file_id"] not in {f["file_id"] for f in listed}


def test_webhooks_are_listed_shown_and_sent_again(penstock: Any, server: Any, model: Path) -> None:
    endpoint = put(server, numbered(model, 1), "tells")
    run = endpoint.submit([[1.0]], webhook="https://receiver.invalid/end").wait(30)
    found: list[dict[str, Any]] = []
    give_up = time.monotonic() + 60
    while not (found and found[0]["attempt"]) and time.monotonic() < give_up:
        found = penstock("webhooks", "list", "tells", "--run", run.run_id, "--json")["deliveries"]
    delivery = found[0]["id"]
    assert delivery in penstock("webhooks", "list", "--state", "pending")
    shown = penstock("webhooks", "show", delivery)
    assert f"{delivery} is pending; run {run.run_id}" in shown
    assert "receiver.invalid" in shown
    assert f"Sending {delivery} to https://receiver.invalid" in penstock(
        "webhooks", "redeliver", delivery
    )
    assert f"{delivery} is cancelled" in penstock("webhooks", "cancel", delivery)
    told = penstock("webhooks", "cancel", "--receiver", "https://receiver.invalid", "--json")
    assert told == {"cancelled": 0}
    penstock("webhooks", "cancel", status=2)
    penstock("webhooks", "secret", "--rotate", status=1, input="n\n")
    first = penstock("webhooks", "secret", "--rotate", "--yes", "--json")["secret"]
    assert penstock("webhooks", "secret", "--rotate", "--yes").strip() != first


def test_every_command_that_answers_can_answer_in_json() -> None:
    import typer

    quiet = {"serve"}
    main = typer.main.get_command(build())
    commands = dict(main.commands)
    for group in ("keys", "secrets", "files", "webhooks"):
        for name, command in commands.pop(group).commands.items():
            commands[f"{group} {name}"] = command
    without = {
        name
        for name, command in commands.items()
        if not any("--json" in p.opts for p in command.params)
    }
    assert without <= quiet


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("penstock roll", "rollback"),
        ("penstock show by-", "by-hand"),
        ("penstock runs --st", "--state"),
    ],
)
def test_a_shell_completes_commands_options_and_names_of_deployments(
    penstock: Any, deployed: str, typed: str, offered: str
) -> None:
    asked = {
        "_PENSTOCK_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'penstock'; {MAIN}"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert offered in done.stdout.split(), done.stderr


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


def test_with_json_an_error_is_an_object_with_a_code(penstock: Any, server: Any) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, "show", "nowhere", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["error"]["code"] == "not_found"
    assert ended.stderr == ""


def test_a_key_that_the_server_does_not_know_is_status_3(
    penstock: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_API_KEY", "pk_d_00000000_" + "x" * 32)
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, "list"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 3
    assert "key" in ended.stderr


def test_login_says_in_json_who_the_key_is(penstock: Any, server: Any) -> None:
    key = server.keys["predict"]
    told = penstock("login", "--server", server.url, "--key", key, "--json")
    assert (told["server"], told["scope"]) == (server.url, "predict")
    assert key not in json.dumps(told)


def test_a_deployment_that_never_became_ready_says_why(
    penstock: Any, server: Any, tmp_path: Path
) -> None:
    from penstock import PenstockError, deploy, model_type

    (tmp_path / "broken.joblib").write_bytes(b"no model")
    with pytest.raises(PenstockError):
        deploy(
            [(model_type.SKLEARN, tmp_path / "broken.joblib")],
            "never",
            server.keys["deploy"],
            server=server.url,
            quiet=True,
        )
    assert "never ready" in penstock("list")
    assert "cannot be loaded" in penstock("show", "never")


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
