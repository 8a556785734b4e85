"""`penstock deploy`: a flow in a file becomes an endpoint; the exit status says what went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock import Conduit, Endpoint, model_type

FLOW = '''
"""A flow of the user's own."""
from names import NAMES
from penstock import Conduit, model_type

def name(values):
    return [NAMES[int(value) % len(NAMES)] for value in values]

flow = [(model_type.PYTHON, name)]

def made():
    return flow

named = Conduit("by-name", flow=flow)
number = 7

if __name__ == "__main__":
    raise SystemExit("it was run as a script")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "names.py").write_text('NAMES = ["zero", "one", "two"]\n')
    (tmp_path / "my_flow.py").write_text(FLOW)
    return tmp_path


@pytest.fixture
def command(server: Any, folder: Path) -> Any:
    """Return a function that runs the command and gives status, output, errors."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {
            **os.environ,
            "PENSTOCK_SERVER": server.url,
            "PENSTOCK_API_KEY": server.keys["deploy"],
            "PENSTOCK_PROFILE": str(folder / "profile.json"),
            **environment,
        }
        words = [sys.executable, "-m", "penstock.cli.main", "deploy", *arguments]
        return subprocess.run(
            words, capture_output=True, text=True, cwd=folder, env=own, timeout=120, check=False
        )

    return run


def test_a_flow_in_a_file_serves_with_what_lies_beside_it(command: Any, server: Any) -> None:
    done = command("my_flow.py:flow", "cli-flow", "--example", "[1, 2]", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["name"] == "cli-flow"
    endpoint = Endpoint(told["endpoint"], server.keys["deploy"])
    assert endpoint.predict([2, 4]) == ["two", "one"]
    assert "• Server" in done.stderr
    endpoint.delete()


def test_the_name_is_the_conduits_or_the_files(command: Any, server: Any) -> None:
    for target, name in (("my_flow.py:named", "by-name"), ("my_flow.py:made", "my-flow")):
        done = command(target, "--quiet")
        assert done.returncode == 0, done.stderr
        url = done.stdout.strip()
        assert url.endswith(f"/{name}/predict")
        Endpoint(url, server.keys["deploy"]).delete()


def test_a_dry_run_answers_the_example_here_and_sends_nothing(command: Any) -> None:
    done = command(
        "my_flow.py", "--dry-run", "--example", "[1]", PENSTOCK_SERVER="http://127.0.0.1:1"
    )
    assert done.returncode == 0, done.stderr
    assert "answers ['one']" in done.stdout


TRAINED = '''
import csv
from sklearn.base import BaseEstimator
from penstock import model_type

with open("houses.csv") as file:
    ROWS = [[float(cell) for cell in row] for row in csv.reader(file)]
MEAN = sum(price for _, price in ROWS) / len(ROWS)

class Doubling(BaseEstimator):
    """A model that no library of the server's has."""

    def fit(self, rows, prices):
        self.factor_ = sum(prices) / sum(row[0] for row in rows)
        return self

    def predict(self, rows):
        return self.factor_ * rows[:, 0]

def post(result):
    return [{"price": float(price), "dear": bool(price > MEAN)} for price in result]

model = Doubling().fit([row[:1] for row in ROWS], [row[1] for row in ROWS])
flow = [(model_type.SKLEARN, model, {"post": post})]
'''


def test_a_file_that_trains_its_model_is_run_here_and_never_on_the_server(
    command: Any, server: Any, folder: Path
) -> None:
    (folder / "trained.py").write_text(TRAINED)
    (folder / "houses.csv").write_text("1,2\n2,4\n3,6\n")
    done = command("trained.py", "--name", "cli-trained", "--example", "[[4.0]]")
    assert done.returncode == 0, done.stderr
    assert "takes along MEAN" in done.stdout
    endpoint = Endpoint(f"{server.url}/v1/default/cli-trained/predict", server.keys["deploy"])
    expected = [{"price": 2.0, "dear": False}, {"price": 10.0, "dear": True}]
    assert endpoint.predict([[1.0], [5.0]]) == expected
    endpoint.delete()


def test_options_of_the_command_reach_the_version(command: Any, server: Any) -> None:
    options = ["--cpu=2", "--memory=1.5", "--hardware=cpu", "--network=none", "--max-replicas=3"]
    done = command("my_flow.py", "cli-options", *options, "--json")
    assert done.returncode == 0, done.stderr
    url = json.loads(done.stdout)["endpoint"]
    shown = httpx2.get(
        url.replace("/predict", "/versions/1"), headers={"Authorization": server.keys["deploy"]}
    ).json()
    wanted = {"threads": 2, "memory_limit_bytes": 3 << 29, "hardware": "CPU", "network": "none"}
    assert {name: shown["settings"][name] for name in wanted} == wanted
    Endpoint(url, server.keys["deploy"]).delete()


def test_a_conduits_file_is_deployed_too(command: Any, server: Any, folder: Path) -> None:
    conduit = Conduit("from-file", "k", [(model_type.PYTHON, lambda v: [len(v)])])
    conduit.create_json_config(folder / "conduit.json")
    done = command("conduit.json", "--quiet")
    assert done.returncode == 0, done.stderr
    endpoint = Endpoint(done.stdout.strip(), server.keys["deploy"])
    assert endpoint.predict([1, 2, 3]) == [3]
    endpoint.delete()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["absent.py:flow"], 1, "There is no file 'absent.py'"),
        (["my_flow.py:absent"], 1, "has no 'absent'.\n  It has the flows flow, named."),
        (["my_flow.py:number"], 1, "is a int, no flow"),
        (["my_flow.py", "--example", "[1"], 1, "--example is no JSON"),
        (["my_flow.py", "--replicas", "many"], 2, "neither a number nor auto"),
        (["my_flow.py", "--requirements-file", "absent.txt"], 1, "absent.txt cannot be read"),
        (["my_flow.py", "--python-version", "3.8"], 1, "Penstock needs Python 3.10 or newer"),
        (["my_flow.py", "--secret", "ABSENT_ONE"], 1, "penstock secrets set ABSENT_ONE"),
        (["my_flow.py", "--server", "http://127.0.0.1:1"], 3, "127.0.0.1:1"),
        (["my_flow.py", "broken", "--example", '["x"]'], 1, "invalid literal"),
        (["my_flow.py", "broken", "--example", '["x"]', "--no-check-locally"], 4, "invalid lit"),
    ],
)
def test_the_exit_status_says_what_went_wrong(
    command: Any, arguments: list[str], status: int, words: str
) -> None:
    done = command(*arguments)
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr


def test_with_json_an_error_is_an_object(command: Any) -> None:
    done = command("my_flow.py", "--json", "--server", "http://127.0.0.1:1")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "server_unreachable"
