"""Tracebacks of uploaded functions show source lines although the file is not there."""

from __future__ import annotations

import linecache
import traceback

import pytest

from penstock.flow.sources import show_lines

FILE = "/home/somebody/flow.py"
PRE = "def pre(data):\n    return data[5]\n"
POST = "def post(result):\n    return 1 / result\n"


@pytest.fixture
def functions():
    space = {}
    exec(compile("\n" * 9 + PRE, FILE, "exec"), space)
    exec(compile("\n" * 2 + POST, FILE, "exec"), space)
    yield space
    linecache.cache.pop(FILE, None)


def test_the_lines_of_several_functions_of_one_file_are_found(functions):
    show_lines(functions["pre"], PRE)
    show_lines(functions["post"], POST)
    for call, line in (
        (lambda: functions["pre"]([]), "data[5]"),
        (lambda: functions["post"](0), "1 / result"),
    ):
        try:
            call()
        except (IndexError, ZeroDivisionError):
            assert f"return {line}" in traceback.format_exc()
    assert linecache.getline(FILE, 1) == "\n"


def test_a_callable_without_code_is_left_out():
    show_lines(len, "def len(): ...")
    assert FILE not in linecache.cache
