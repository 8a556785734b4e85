"""JSON that is nested deeper than the limit is refused, whatever its brackets look like."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.codec import nesting
from penstock.codec.nesting import check_nesting
from penstock.codec.payload import decode
from penstock.core.errors import MalformedBody


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    yield
    nesting.limit_nesting(nesting.DEFAULT)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def nested(levels: int, inside: str = "1") -> bytes:
    return (b'{"a":[' * levels)[: 6 * levels] + inside.encode() + b"]}" * levels


TEXTS = st.text('[]{}"\\,: ab', max_size=6)
VALUES = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=40,
)


@given(VALUES, st.integers(1, 8))
def test_the_levels_are_those_of_the_value(value: object, most: int) -> None:
    nesting.limit_nesting(most)
    body = json.dumps(value, ensure_ascii=False).encode()
    try:
        check_nesting(body)
    except MalformedBody:
        assert depth(value) > most
    else:
        assert depth(value) <= most


def test_the_usual_limit_holds_for_every_body_with_json_in_it() -> None:
    deep, flat = b"[" * 201 + b"]" * 201, b"[" * 200 + b"]" * 200
    assert decode("application/json", flat).count == 1
    form = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--x--\r\n'
    for media, body in (
        ("application/json", deep),
        ("application/json", b" " * 300 + b'{"data": [1], "parameters": {"a": ' + deep + b"}}"),
        ("application/json", memoryview(deep)),
        ("application/json; charset=utf-16", deep.decode().encode("utf-16")),
        ("text/plain", nested(101)),
        ("multipart/form-data; boundary=x", form % (b"data", deep)),
        ("application/vnd.penstock.oip", b'{"inputs": [], "parameters": {"a": ' + deep + b"}}"),
    ):
        with pytest.raises(MalformedBody, match="is nested deeper than 200 levels"):
            decode(media, body)


def test_brackets_in_texts_neither_hide_depth_nor_make_it() -> None:
    hidden = b'["]",' * 300 + b"1" + b',"["]' * 300
    with pytest.raises(MalformedBody, match="nested deeper"):
        check_nesting(hidden)
    check_nesting(json.dumps(["[" * 1000, '\\"[[[' * 500, {"{" * 900: 1}]).encode())


@pytest.mark.parametrize("row", [[0.5] * 8, {"label": "a", "p": 0.5}, {"[": "]"}, [["a"], {}]])
def test_many_flat_rows_are_not_deep(row: object) -> None:
    check_nesting(json.dumps([row] * 100_000).encode())
