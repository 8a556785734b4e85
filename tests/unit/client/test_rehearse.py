"""A dry run: what it says, what stops it, and what it leaves to a server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from penstock import Conduit, PenstockError, deploy, get_secret
from penstock import model_type as M
from penstock.client.local import expected_answer
from penstock.client.options import Options
from penstock.core.errors import LoadFailed
from penstock.core.flow import Flow


def by_value(held: Any) -> Any:
    """Return a function that takes something along."""

    def weigh(rows: Any) -> Any:
        return [sum(row) * held[0] for row in rows]

    return weigh


FLOW = [(M.PYTHON, by_value([0.5] * 300))]


def dry(flow: Any = FLOW, **options: Any) -> Conduit:
    made = deploy(flow, "dry", server="http://127.0.0.1:1", dry_run=True, **options)
    assert isinstance(made, Conduit)
    return made


def test_it_shows_what_would_be_sent_and_what_the_example_gives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    conduit = dry(example=[[1, 2]])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "• Dry run of dry: everything happens here"
    assert any("takes along held (list, " in line for line in shown)
    assert any(line.startswith("• A deploy sends 3 files (") for line in shown)
    assert shown[-2:] == ["• The flow loads here", "• The example gives [1.5]"]
    assert conduit.example_result == [1.5]
    assert conduit.run([[3, 4]]) == [3.5]
    assert conduit.endpoint is None


def test_a_reserved_word_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    deploy(FLOW, "traffic", dry_run=True)
    assert "'traffic' is a reserved word" in "".join(capsys.readouterr())


def test_it_is_silent_when_asked_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert dry(quiet=True).example_result is None
    assert capsys.readouterr().out == ""


def undefined(rows: Any) -> Any:
    return nowhere(rows)  # type: ignore[name-defined]  # noqa: F821


def failing(rows: Any) -> Any:
    return rows[0] / 0


@pytest.mark.parametrize(
    ("flow", "options", "words"),
    [
        ([(M.PYTHON, undefined)], {}, "`nowhere`"),
        ([(M.PYTHON, by_value(threading.Lock()))], {}, "held"),
        ([(M.PYTHON, failing)], {"example": [1]}, "ZeroDivisionError"),
        ([(M.ONNX, "absent.onnx")], {}, "absent.onnx"),
        (FLOW, {"requirements": ["--index-url=x"]}, "--index-url"),
        (FLOW, {"requirements_file": "absent.txt"}, "No such file"),
        (FLOW, {"python_version": "3"}, "python_version is '3'"),
        (FLOW, {"example": [object()]}, "object"),
        (FLOW, {"example": [[1, 2]], "example_files": [b"a", b"b"], "pair_files": True}, "files"),
    ],
)
def test_what_stops_a_deploy_stops_it(flow: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PenstockError, match=words):
        dry(flow, quiet=True, **options)


def test_a_library_that_is_missing_here_is_left_to_the_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def model(rows: Any) -> Any:
        import a_library_of_the_server  # type: ignore[import-not-found]

        return a_library_of_the_server.answer(rows)

    conduit = dry([(M.PYTHON, model)], example=[1])
    shown = capsys.readouterr().out
    assert "`a_library_of_the_server` is not installed here; a deploy asks whether" in shown
    assert "The example cannot be answered here: " in shown
    assert conduit.example_result is None
    with pytest.raises(PenstockError, match="a_library_of_the_server"):
        dry([(M.PYTHON, model)], example=[1], quiet=True, check_locally=True)


def test_a_secret_that_is_missing_here_is_left_to_the_server(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def model(rows: Any) -> Any:
        return [len(get_secret("OF_THE_SERVER"))] * len(rows)

    dry([(M.PYTHON, model)], example=[1])
    shown = capsys.readouterr().out
    assert "• Secrets: OF_THE_SERVER" in shown
    assert "The example cannot be answered here: " in shown


def starts_with_a_secret() -> dict[str, str]:
    return {"token": get_secret("OF_THE_SERVER")}


def starts_with_a_library() -> dict[str, Any]:
    import a_library_of_the_server

    return {"client": a_library_of_the_server.client()}


@pytest.mark.parametrize("setup", [starts_with_a_secret, starts_with_a_library])
def test_a_deploy_leaves_its_example_to_the_server_where_setup_cannot_work_here(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = Flow.parse([(M.PYTHON, len, {"setup": setup})])
    assert expected_answer(flow, Options(example=[1])) == (False, None)
    with pytest.raises(LoadFailed):
        expected_answer(flow, Options(example=[1], check_locally=True))


def test_what_needs_an_environment_is_said_not_to_be_built(
    capsys: pytest.CaptureFixture[str],
) -> None:
    dry(requirements=["pandas==1.5.3"], example=[[1, 1]])
    shown = capsys.readouterr().out
    assert "The environment is not built" in shown
    assert "• The example gives [1.0]" in shown
