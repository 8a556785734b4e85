"""`get_secret` on the user's machine and in a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock
from penstock.codec.memory import AskSecrets, SecretValues
from penstock.core.errors import SecretMissing
from penstock.flow import secrets
from penstock.flow.local import LocalFlow
from penstock.flow.secrets import get_secret


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "pyproject.toml").touch()  # nothing above this folder counts
    monkeypatch.chdir(tmp_path)
    yield
    secrets._worker.clear()


def test_without_a_file_the_environment_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "from-env")
    assert penstock.get_secret("MY_TOKEN") == "from-env"


@pytest.mark.parametrize("yaml", [True, False])
def test_files_come_before_the_environment_and_json_before_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yaml: bool
) -> None:
    monkeypatch.setenv("MY_TOKEN", "from-env")
    monkeypatch.setenv("ONLY_ENV", "from-env")
    if not yaml:  # as where pyyaml is not installed
        monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    (tmp_path / "secrets.yaml").write_text(
        "# a comment\nMY_TOKEN: 'from: yaml'\nplain: a b  # why\nnumber: 7\n"
    )
    assert get_secret("MY_TOKEN") == "from: yaml"
    assert (get_secret("plain"), get_secret("number")) == ("a b", "7")
    with pytest.raises(SecretMissing, match="ONLY_ENV") as caught:
        get_secret("ONLY_ENV")
    assert "not consulted" in str(caught.value)
    (tmp_path / "secrets.json").write_text(json.dumps({"MY_TOKEN": "from-json", "n": {"a": 1}}))
    assert get_secret("MY_TOKEN") == "from-json"
    assert json.loads(get_secret("n")) == {"a": 1}


def test_a_file_is_found_from_a_folder_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets.json").write_text('{"A": "above"}')
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert get_secret("A") == "above"


@pytest.mark.parametrize("text", ["[1]", "{", '"text"'])
def test_a_file_that_is_no_mapping_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(SecretMissing, match=r"secrets\.json cannot be read"):
        get_secret("A")


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_secret_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_SUCH", value)
    with pytest.raises(SecretMissing, match="Secret not found for key 'NO_SUCH'"):
        get_secret("NO_SUCH")


def test_a_local_run_finds_the_file_beside_the_users_code(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"A": "here"}')

    def pre(data):
        return [get_secret("A") for _ in data]

    def model(data):
        return data

    from penstock.core.flow import Flow, ModelType

    flow = LocalFlow(Flow.parse([(ModelType.PYTHON, model, {"pre": pre})]))
    assert flow.run([1, 2]) == ["here", "here"]


def test_a_worker_has_what_it_was_given_and_nothing_of_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("B", "from-env")
    (tmp_path / "secrets.json").write_text('{"B": "from-file"}')
    secrets.install("shop/flow", {"A": "given-value"})
    assert get_secret("A") == "given-value"
    with pytest.raises(SecretMissing, match="shop/flow does not declare it") as caught:
        get_secret("B")
    assert "secrets=['B']" in str(caught.value)


def test_a_worker_asks_for_present_values_after_a_while_and_not_before() -> None:
    asked: list[object] = []

    def ask(request: object) -> SecretValues:
        asked.append(request)
        return SecretValues({"A": f"value-{len(asked)}"})

    secrets.install("shop/flow", {"A": "value-0"})
    secrets.connect(ask)  # type: ignore[arg-type]
    assert get_secret("A") == "value-0"
    assert asked == []
    secrets._worker[0].asked_at -= secrets.FRESH_S
    assert get_secret("A") == "value-1"
    assert get_secret("A") == "value-1"
    assert asked == [AskSecrets()]


def test_what_a_worker_has_is_in_no_text_of_it() -> None:
    secrets.install("shop/flow", {"A": "given-value"})
    assert "given-value" not in repr(secrets._worker)
