"""Names, errors and states."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import errors
from penstock.core.names import check_deployment_name, check_project_name, is_run_id, new_run_id
from penstock.core.states import VERSION_MOVES, VersionState, check_version_move


@pytest.mark.parametrize("name", ["a", "0", "iris", "sk-test-model", "a" * 20])
def test_legal_names_are_returned(name: str) -> None:
    assert check_deployment_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "A", "a_b", "a b", "a\n", "ä", "a" * 21, "..", "a/b", "runs", "blobs", None],
)
def test_illegal_deployment_names_are_refused(name: object) -> None:
    with pytest.raises(errors.InvalidName):
        check_deployment_name(name)


def test_a_reserved_word_is_a_name_where_it_was_one_before() -> None:
    assert check_deployment_name("runs", is_new=False) == "runs"
    with pytest.raises(errors.InvalidName):
        check_deployment_name("a/b", is_new=False)


@given(st.text(max_size=30))
def test_a_name_that_gets_in_is_safe_in_a_url(name: str) -> None:
    try:
        check_project_name(name)
    except errors.InvalidName:
        return
    assert name.isascii()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_run_ids_are_random_uuids() -> None:
    made = {new_run_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_run_id(run_id) and run_id[14] == "4" for run_id in made)


def test_every_error_code_is_its_own() -> None:
    kinds = errors.all_errors()
    assert len({kind.code for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("kind", errors.all_errors(), ids=lambda k: k.code)
def test_an_error_survives_the_way_to_the_caller(kind: type[errors.PenstockError]) -> None:
    error = kind("It broke.", stage=2, function="pre", type="KeyError", hint="Mend it.", size=3)
    assert error.summary.endswith(".")
    for back in (errors.from_dict(error.to_dict()), pickle.loads(pickle.dumps(error))):
        assert type(back) is kind
        assert back.to_dict() == error.to_dict()
        assert str(back) == "It broke. Mend it."


def test_an_unknown_code_becomes_the_base_error() -> None:
    assert type(errors.from_dict({"code": "new_one", "message": "m"})) is errors.PenstockError


def test_a_traceback_is_shown_only_when_asked_for() -> None:
    error = errors.FunctionFailed("m", traceback="line 1")
    assert "traceback" not in error.to_dict()
    assert error.to_dict(with_traceback=True)["traceback"] == "line 1"


@pytest.mark.parametrize("old", VersionState)
@pytest.mark.parametrize("new", VersionState)
def test_only_legal_moves_between_states_are_allowed(old: VersionState, new: VersionState) -> None:
    if new in VERSION_MOVES[old]:
        check_version_move(old, new)
    else:
        with pytest.raises(errors.Conflict):
            check_version_move(old, new)
