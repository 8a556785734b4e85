"""Bodies become requests: JSON, npy, any one file, and what is refused."""

from __future__ import annotations

import contextlib
import json
import mmap
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.codec.npy import write_npy
from penstock.codec.payload import Request, count_points, decode
from penstock.core.errors import MalformedBody, UnsupportedMedia

JSON = "application/json"
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def refused(media_type: str, body: bytes) -> MalformedBody:
    with pytest.raises(MalformedBody) as caught:
        decode(media_type, body)
    return caught.value


def test_a_list_is_the_data_itself() -> None:
    request = decode(JSON, b"[[1, 2.5], [3, 4]]")
    assert request == Request([[1, 2.5], [3, 4]], {}, [], 2, None)


def test_a_view_of_a_larger_buffer_is_read_without_its_surroundings() -> None:
    assert decode(JSON, memoryview(b"xx[1]yy")[2:5]).data == [1]


def test_requests_do_not_share_their_empty_defaults() -> None:
    first, second = decode(JSON, b"[1]"), decode(JSON, b"[1]")
    first.parameters["a"] = 1
    first.files.append(None)  # type: ignore[arg-type]
    assert second.parameters == {}
    assert second.files == []


def test_an_envelope_is_opened() -> None:
    body = b'{"data": ["a"], "parameters": {"k": 1}, "webhook_endpoint": "https://example.org"}'
    request = decode(JSON, body)
    assert request == Request(["a"], {"k": 1}, [], 1, "https://example.org")


def test_null_parameters_mean_none() -> None:
    request = decode(JSON, b'{"data": 1, "parameters": null, "webhook_endpoint": null}')
    assert request == Request(1, {}, [], 1, None)


@pytest.mark.parametrize(
    "body",
    [{"prompt": "hi", "data": [1]}, {"parameters": {"k": 1}}, {"x": [[1.0]]}, {},
     {"webhook_endpoint": "https://example.org"}],
)  # fmt: skip
def test_an_object_with_other_keys_or_without_data_is_the_data(body: object) -> None:
    request = decode(JSON, json.dumps(body).encode())
    assert request.data == body
    assert request.parameters == {}


@pytest.mark.parametrize("value", ["[1]", '"a"', "3", "true"])
def test_parameters_must_be_an_object(value: str) -> None:
    assert "parameters is a JSON" in str(
        refused(JSON, f'{{"data":[],"parameters":{value}}}'.encode())
    )


def test_a_webhook_must_be_text() -> None:
    assert "webhook_endpoint" in str(refused(JSON, b'{"data":[],"webhook_endpoint":3}'))


@pytest.mark.parametrize(
    "media_type",
    ["", JSON, "Application/JSON", "application/json; charset=UTF-8", "text/plain",
     'text/plain; charset="utf-8"', "text/json", "application/vnd.kserve+json",
     "application/x-www-form-urlencoded", " application/json ;"],
)  # fmt: skip
def test_these_media_types_mean_json(media_type: str) -> None:
    assert decode(media_type, '["é"]'.encode()).data == ["é"]


@pytest.mark.parametrize("charset", ["utf-16", "utf-16le", "utf-32", "iso-8859-1", "Windows-1252"])
def test_other_charsets_are_converted(charset: str) -> None:
    assert decode(f"{JSON}; charset={charset}", '["é"]'.encode(charset)).data == ["é"]


@pytest.mark.parametrize("charset", ["klingon", "zip", "rot13", "punycode", "idna", "utf-7"])
def test_an_unknown_or_dangerous_charset_is_unsupported(charset: str) -> None:
    with pytest.raises(UnsupportedMedia, match=r"charset .* UTF-8"):
        decode(f"{JSON}; charset={charset}", b"[1]")


def test_a_body_that_is_not_its_charset_is_malformed() -> None:
    assert "not utf-16" in str(refused(f"{JSON}; charset=utf-16", b"[1]"))


def test_a_byte_order_mark_is_ignored() -> None:
    assert decode(JSON, b"\xef\xbb\xbf[1]").data == [1]


def test_only_one_byte_order_mark_is_ignored() -> None:
    for count in (2, 100_000):
        assert "not valid JSON" in str(refused(JSON, b"\xef\xbb\xbf" * count + b"[1]"))


def test_a_webhook_whose_name_is_escaped_is_refused_as_the_server_does_not_see_it() -> None:
    body = b'{"data": [1], "webhook\\u005fendpoint": "https://a.example/x"}'
    for media in (JSON, "text/plain; charset=utf-8"):
        assert "written with escapes" in str(refused(media, body))
    wide = body.decode().encode("utf-16")
    assert "written with escapes" in str(refused(f"{JSON}; charset=utf-16", wide))
    assert decode(JSON, body.replace(b'"https://a.example/x"', b"null")).webhook_endpoint is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty. Send JSON"),
        (b" \r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"[1, 2", "not valid JSON: Input data was truncated"),
        (b"[1, x]", "invalid character (byte 4)"),
        (b"[1] [2]", "trailing characters (byte 5)"),
        (b"[NaN]", "send null"),
        (b"[1, -Infinity]", "send null"),
        (b"[1e999]", "out of range"),
        (b'["\xff"]', "not UTF-8: byte 0xff at position 2"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a=1&b=2", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_bad_json_says_what_and_where(body: bytes, words: str) -> None:
    assert words in str(refused(JSON, body))
    assert words in str(refused(JSON, memoryview(body)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/pickle",
        "application/x-pickle",
        "application/python-pickle",
        "Application/X-Pickle",
    ],
)
def test_a_pickle_is_refused_unread(media_type: str) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, ...]:
            return (sys.exit, (1,))

    with pytest.raises(UnsupportedMedia, match="never read"):
        decode(media_type, pickle.dumps(Boom()))


@pytest.mark.parametrize(
    "media_type", ["image/png", "application/octet-stream", "audio/wav; rate=8"]
)
def test_any_other_media_type_is_one_file(media_type: str) -> None:
    request = decode(media_type, b"\x89PNG\r\n")
    assert request.data == []
    assert request.count == 1
    (file,) = request.files
    assert file.read() == b"\x89PNG\r\n"
    assert file.content_type == media_type.split(";", maxsplit=1)[0]


def test_an_empty_file_is_a_file() -> None:
    assert decode("image/png", b"").files[0].read() == b""


def test_npy_is_an_array_with_its_first_axis_counted() -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    request = decode("application/x-npy", write_npy(array))
    np.testing.assert_array_equal(request.data, array)
    assert request.count == 4


def test_a_memory_file_is_read_in_place() -> None:
    with mmap.mmap(-1, 300_000) as memory:
        memory[:] = b" " * 300_000
        memory[-4:] = b"[42]"
        with memoryview(memory) as view:
            assert decode(JSON, view).data == [42]


@pytest.mark.parametrize(
    ("data", "count"),
    [
        ([], 0), ([1, 2, 3], 3), ("text", 1), (7, 1), (None, 1), ({}, 1),
        ({"a": [1, 2], "b": [3, 4]}, 2), ({"a": [1, 2], "b": [3]}, 1), ({"a": [1], "b": 2}, 1),
        ({"a": []}, 0), ({"a": 1}, 1), (np.zeros((5, 2)), 5), (np.float32(3), 1), (np.array(3), 1),
        (np.zeros((0, 3)), 0),
    ],
)  # fmt: skip
def test_data_points_are_counted_by_one_rule(data: object, count: int) -> None:
    assert count_points(data) == count


@given(anything)
def test_whatever_json_holds_is_read_as_the_standard_library_reads_it(value: object) -> None:
    text = json.dumps({"wrapped": value}).encode("utf-8")
    assert decode(JSON, text).data == json.loads(text)


@given(st.binary(max_size=40))
def test_no_bytes_make_anything_but_a_request_or_a_clear_error(body: bytes) -> None:
    for media_type in (JSON, "application/x-npy", "multipart/form-data; boundary=b"):
        with contextlib.suppress(MalformedBody):
            assert isinstance(decode(media_type, body), Request)


def test_decoding_json_loads_no_numpy_and_no_pickle() -> None:
    code = (
        "import sys; from penstock.codec.payload import decode; "
        "decode('application/json', b'[1]'); "
        "print([m for m in ('numpy', 'torch', 'cloudpickle') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
