"""What the names on a failing line held, as the page of a failed run tells it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from penstock.core.redaction import HIDDEN
from penstock.flow.processing import last_user_frame
from penstock.flow.seen_values import values_on_line


class Loud:
    """Its text is code of the user's, which must not run."""

    def __repr__(self) -> str:
        raise AssertionError("was asked for its text")

    shape = property(__repr__)


def values(function: Any, *arguments: Any) -> dict[str, str]:
    """Call a function that fails, and return what was held where it failed."""
    try:
        function(*arguments)
    except Exception as error:
        entry = last_user_frame(error.__traceback__)
        assert entry is not None
        return values_on_line(entry.tb_frame, entry.tb_lineno)
    pytest.fail("it did not fail")


def test_only_names_of_the_failing_line_are_told_in_the_order_they_are_used() -> None:
    def prepare(customer: Any, unused: Any) -> Any:
        rows = []
        for name in ("fee", "months"):
            rows.append(customer[name])
        return rows

    told = values(prepare, {"id": 7, "fee": 2.5}, 1)
    assert told == {
        "rows": "[2.5]",
        "customer": "{'id': 7, 'fee': 2.5}",
        "name": "'months'",
    }


def test_a_comprehension_tells_what_it_was_at_and_what_is_around_it() -> None:
    def prepare(customer: Any) -> Any:
        return [customer[name] for name in ("fee", "months")]

    told = values(prepare, {"fee": 2.5})
    assert told["name"] == "'months'"
    assert told["customer"] == "{'fee': 2.5}"
    assert set(told) == {"name", "customer"}


def test_values_are_cut_and_arrays_told_by_shape() -> None:
    def add(text: Any, many: Any, array: Any, number: Any) -> Any:
        return text + many + array + number

    told = values(add, "x" * 5000, list(range(900)), np.zeros((3, 4), "float32"), np.float64(0.5))
    assert all(len(value) <= 123 for value in told.values())
    assert told["text"].startswith("'xxx")
    assert told["many"] == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert told["array"] == "<ndarray float32 [3, 4]>"
    assert told["number"].endswith("0.5)") or told["number"] == "0.5"


def test_no_code_of_the_users_is_run_for_a_text() -> None:
    def use(thing: Any, inside: Any) -> Any:
        return thing + inside

    assert values(use, Loud(), [Loud()]) == {"thing": "<Loud>", "inside": "[<Loud>]"}


def test_a_secret_is_hidden_also_where_the_value_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cr3t-" + "k" * 90
    HIDDEN.add([secret])

    def use(header: Any, raw: Any) -> Any:
        return header + raw

    told = values(use, "x" * 60 + secret, ("y" * 60 + secret).encode())
    assert "s3cr3t" not in str(told)
    assert told["header"].startswith("'xxx")


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="integers have no limit")
def test_a_value_that_has_no_text_is_told_by_its_type() -> None:
    def use(number: Any) -> Any:
        return number + "a"

    assert values(use, 10**9000) == {"number": "<int>"}
