"""The names of secrets that functions ask for are found without running them."""

from __future__ import annotations

import penstock
from penstock import get_secret
from penstock.environments.imports import Scanner


def names_in(function: object) -> set[str | None]:
    return set(Scanner().scan(function, stage=1, role="pre").secrets)


def token() -> str:
    return get_secret("FROM_HELPER")


def test_names_that_are_written_out_are_found_wherever_they_are() -> None:
    def pre(data):
        from penstock import get_secret as local

        def inner():
            return penstock.get_secret("FROM_ATTRIBUTE")

        return [get_secret("FROM_GLOBAL"), token(), inner(), local]

    assert names_in(pre) == {"FROM_GLOBAL", "FROM_HELPER", "FROM_ATTRIBUTE"}


def test_a_name_imported_inside_the_function_is_found() -> None:
    def pre(data):
        from penstock import get_secret

        return get_secret("FROM_INSIDE")

    assert names_in(pre) == {"FROM_INSIDE"}


def test_a_computed_name_is_told_apart() -> None:
    def pre(data):
        return get_secret("".join(data)) + get_secret("A" if data else "B")

    assert names_in(pre) == {None}


def test_a_function_without_secrets_has_none() -> None:
    def pre(data):
        return "get_secret", data

    assert names_in(pre) == set()
