"""What a dry run says is what a deploy then does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from penstock import Conduit, PenstockError, deploy, get, get_secret, parallel, switch
from penstock import model_type as M

X, Y = load_iris(return_X_y=True)
NAMES = ["setosa", "versicolor", "virginica"]


def lookup() -> dict[str, Any]:
    return {"names": NAMES}


def named(result: Any, input_data: Any) -> Any:
    found = [get("names")[int(row)] for row in np.asarray(result).argmax(axis=1)]
    return {"asked": len(input_data), "names": found}


def by_number(data: Any) -> str:
    return "many" if len(data) > 1 else "one"


def forest() -> Any:
    return RandomForestClassifier(5, random_state=3).fit(X, Y)


def linear() -> Any:
    return LogisticRegression(max_iter=500).fit(X, Y)


def one_stage() -> Any:
    return [(M.SKLEARN_CLASSIFIER, forest(), {"setup": lookup, "post": named})]


def ensemble() -> Any:
    both = parallel([(M.SKLEARN_CLASSIFIER, forest()), (M.SKLEARN_CLASSIFIER, linear())], "mean")
    return [(both, {"setup": lookup, "post": named})]


def either() -> Any:
    return [switch(by_number, {"many": (M.SKLEARN, forest()), "one": (M.SKLEARN, linear())})]


#: Steps that need a server.
SERVERS = (
    "• Server",
    "• Uploaded",
    "• Loading",
    "• Sending",
    "• Switching",
    "• The ",
    "🌍",
    "curl",
)
#: Steps that only a dry run has.
OWN = ("• Dry run", "• A deploy sends", "• The flow loads", "• The example gives")


def told(shown: str, name: str) -> list[str]:
    """Return the lines about the bundle: models, functions, secrets, warnings."""
    lines = [line for line in shown.splitlines() if not line.startswith((*SERVERS, *OWN))]
    return [line for line in lines if not line.startswith(f"• {name} version")]


@pytest.mark.parametrize("flow", [one_stage, ensemble, either])
def test_a_deploy_sends_and_answers_what_the_dry_run_said(
    flow: Callable[[], Any], server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, stages, name = X[::30].tolist(), flow(), f"dry-{flow.__name__.replace('_', '-')}"
    conduit = deploy(stages, name, dry_run=True, example=rows)
    assert isinstance(conduit, Conduit)
    said = capsys.readouterr().out
    endpoint = deploy(stages, name, server.keys["deploy"], server=server.url, example=rows)
    done = capsys.readouterr().out
    assert told(said, name) == told(done, name)
    assert "Stage 1: " in said
    (promised,) = (line for line in said.splitlines() if line.startswith("• A deploy sends "))
    (sent,) = (line for line in done.splitlines() if line.startswith("• Uploaded "))
    assert _files(promised) == _files(sent)
    assert json.dumps(endpoint.predict(rows)) == json.dumps(conduit.example_result)
    assert endpoint.predict(rows[:1]) == conduit.run(rows[:1])
    endpoint.delete()


def _files(line: str) -> int:
    """Return how many files a line tells of: those sent, and those that were there."""
    words = line.split()
    sent = int(words[words.index("file" if "file" in words else "files") - 1])
    return sent + (int(words[words.index("already") - 3]) if "already" in words else 0)


def unknown_name(rows: Any) -> Any:
    return nowhere(rows)  # type: ignore[name-defined]  # noqa: F821


def divided(rows: Any) -> Any:
    return rows[0] / 0


def three(_data: Any, _files: Any, _more: Any) -> Any:
    """No legal `pre`."""


def secret(rows: Any) -> Any:
    return [len(get_secret("SURELY_NOT_SET"))] * len(rows)


MISTAKES: list[tuple[Any, dict[str, Any]]] = [
    ([(M.PYTHON, unknown_name)], {}),
    ([(M.PYTHON, divided)], {"example": [1], "check_locally": True}),
    ([(M.PYTHON, secret)], {"example": [1], "check_locally": True, "secrets": []}),
    ([(M.PYTHON, len, {"pre": three})], {}),
    ([(M.ONNX, Path("absent.onnx"))], {}),
    ([(M.PYTHON, len)], {"requirements": ["--index-url=x"]}),
    ([(M.PYTHON, len)], {"python_version": "3"}),
    ([(M.PYTHON, len)], {"example": [object()]}),
    ([], {}),
]


@pytest.mark.parametrize(("flow", "options"), MISTAKES)
def test_what_the_dry_run_refuses_a_deploy_refuses_with_the_same_words(
    flow: Any, options: dict[str, Any], server: Any
) -> None:
    with pytest.raises(PenstockError) as dry:
        deploy(flow, "dry-wrong", dry_run=True, quiet=True, **options)
    with pytest.raises(PenstockError) as real:
        deploy(flow, "dry-wrong", server.keys["deploy"], server=server.url, quiet=True, **options)
    assert (type(dry.value), dry.value.message) == (type(real.value), real.value.message)
