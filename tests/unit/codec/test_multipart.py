"""Multipart bodies: fields, files in order, names, limits, and floods."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.codec.multipart import MAX_PARTS, limit_parts, parse_multipart
from penstock.codec.payload import Request, decode
from penstock.codec.request import encode_request
from penstock.core.errors import MalformedBody

MEDIA = "multipart/form-data; boundary=XX"


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return b"--XX\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--XX--\r\n"


def read(*parts: bytes) -> Request:
    whole = body(*parts)
    from_bytes = decode(MEDIA, whole)
    from_view = decode(MEDIA, memoryview(b"before" + whole + b"after")[6:-5])
    assert [f.read() for f in from_bytes.files] == [f.read() for f in from_view.files]
    assert from_bytes.data == from_view.data
    return decode(MEDIA, whole)


def refused(whole: bytes, media: str = MEDIA) -> str:
    with pytest.raises(MalformedBody) as caught:
        decode(media, whole)
    with pytest.raises(MalformedBody) as again:
        decode(media, memoryview(whole))
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def named(disposition: str, content: bytes = b"x") -> str:
    return read(part(f'name="files"; {disposition}', content)).files[0].name


def test_data_and_repeated_files_keep_the_order_sent() -> None:
    request = read(
        part('name="files"; filename="b.png"', b"B", "Content-Type: image/png"),
        part('name="data"', b'["one", "two"]'),
        part('name="files"; filename="a.png"', b"A", "content-type:image/jpeg"),
    )
    assert request.data == ["one", "two"]
    assert request.count == 2
    assert [(f.name, f.content_type, f.read()) for f in request.files] == [
        ("b.png", "image/png", b"B"),
        ("a.png", "image/jpeg", b"A"),
    ]


def test_numbered_file_fields_are_files_in_the_order_sent() -> None:
    request = read(
        part('name="file1"; filename="second"', b"2"), part('name="file0"; filename="first"', b"1")
    )
    assert [f.name for f in request.files] == ["second", "first"]


def test_any_part_with_a_filename_is_a_file() -> None:
    request = read(part('name="picture"; filename="p.gif"', b"G"), part('name="data"', b"[]"))
    assert [f.name for f in request.files] == ["p.gif"]


def test_a_file_field_without_a_filename_is_a_file() -> None:
    request = read(part('name="files"', b"F"), part('name="file7"', b"G"))
    assert [(f.name, f.read()) for f in request.files] == [("file0", b"F"), ("file1", b"G")]


def test_files_alone_are_counted_as_data_points() -> None:
    request = read(*[part('name="files"; filename="a"', b"")] * 3)
    assert request.data == []
    assert request.count == 3


def test_the_data_field_is_never_an_envelope() -> None:
    request = read(part('name="data"', b'{"data": [1]}'), part('name="parameters"', b'{"k": 2}'))
    assert request.data == {"data": [1]}
    assert request.parameters == {"k": 2}


def test_a_webhook_field_is_kept() -> None:
    request = read(part('name="data"', b"[1]"), part('name="webhook_endpoint"', b"https://e.org "))
    assert request.webhook_endpoint == "https://e.org"


def test_an_empty_file_input_of_a_browser_is_no_file() -> None:
    request = read(part('name="files"; filename=""', b""), part('name="data"', b"[1]"))
    assert request.files == []


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('filename="plain.png"', "plain.png"),
        ("filename=bare.png", "bare.png"),
        ('filename="naïve 日本.png"', "naïve 日本.png"),
        ('filename="a;b=c.png"', "a;b=c.png"),
        ('filename="quo\\"te.png"', 'quo"te.png'),
        ('filename="quo%22te.png"', 'quo"te.png'),
        ('filename="/etc/passwd"', "passwd"),
        ('filename="..\\..\\evil.bat"', "evil.bat"),
        ('filename="C:\\Users\\me\\pic.png"', "pic.png"),
        ('filename=".."', "file0"),
        ('filename=""', "file0"),
        ('filename="a\x00b.png"', "ab.png"),
        ("filename*=UTF-8''na%C3%AFve.png", "naïve.png"),
        ("filename=\"ascii.png\"; filename*=utf-8'en'na%C3%AFve.png", "naïve.png"),
        ("filename*=iso-8859-1''na%EFve.png", "naïve.png"),
        ("filename*=UTF-8''..%2F..%2Fevil", "evil"),
    ],
)
def test_a_file_name_is_its_last_part_in_unicode(disposition: str, name: str) -> None:
    assert named(disposition) == name


def test_a_latin_1_file_name_is_still_read() -> None:
    raw = part('name="files"; filename="na*ve"', b"x").replace(b"*", b"\xef")
    assert read(raw).files[0].name == "naïve"


@pytest.mark.parametrize("content", [b"", b"\r\n", b" --XX", b"\r\n--X", b"\r\n-", b"\n--XX\n"])
def test_content_that_looks_like_a_delimiter_is_content(content: bytes) -> None:
    assert read(part('name="files"; filename="a"', content)).files[0].read() == content


def test_an_empty_part_may_share_its_line_end_with_the_delimiter() -> None:
    whole = b'--XX\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n--XX--'
    assert decode(MEDIA, whole).files[0].read() == b""


def test_preamble_epilogue_and_padding_are_skipped() -> None:
    whole = (
        b"hello\r\n" + body(part('name="data"', b"[1]").replace(b"--XX\r", b"--XX \t\r")) + b"bye"
    )
    assert decode(MEDIA, whole).data == [1]


def test_a_quoted_boundary_with_odd_characters_works() -> None:
    whole = body(part('name="data"', b"[1]")).replace(b"--XX", b"--a b'()+_,-./:=?")
    assert decode("""Multipart/Form-Data; boundary="a b'()+_,-./:=?\"""", whole).data == [1]


def test_content_is_not_copied() -> None:
    whole = body(part('name="files"; filename="a"', b"z" * 1000))
    view = decode(MEDIA, whole).files[0].getbuffer()
    assert view.obj is whole
    assert view.readonly


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        (b"", "does not contain its boundary"),
        (b"--YY\r\n", "does not contain its boundary"),
        (body(), "neither a data field nor files"),
        (b"--XX", "does not end its line"),
        (b"--XX\r\n", "ends inside part 0"),
        (body(part('name="data"', b"[1]"))[:-8], "ends inside part 0"),
        (b"--XXY\r\n", "does not end its line"),
        (body(part('name="data"', b"[1]"), part('name="data"', b"[2]")), "field 'data' twice"),
        (body(part('name="data"', b"[1,]")), "The data field is not valid JSON"),
        (body(part('name="data"', b"")), "The data field is empty"),
        (body(part('name="data"', b"[1]"), part('name="parameters"', b"[]")), "not an object"),
        (body(part('name="dta"', b"[1]")), "unknown field 'dta'"),
        (body(b"--XX\r\n\r\nx\r\n"), "has no name"),
        (body(b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n"), "has no name"),
        (body(part("", b"x")), "has no name"),
        (body(part('name="a"; name="b"', b"x")), "'name' twice"),
        (body(part('name="a" x', b"x")), "cannot be read"),
        (body(part('name="data"', b"x", "no colon")), "cannot be read: 'no colon'"),
        (body(part('name="data"', b"x", " folded: a")), "cannot be read"),
        (body(part('name="data"', b"x", "Content-Type: a", "content-type: b")), "cannot be read"),
        (body(part('name="data"', b"W10=", "Content-Transfer-Encoding: base64")), "base64"),
        (body(part("name=\"files\"; filename*=klingon''a", b"x")), "cannot be read"),
        (body(part("name=\"files\"; filename*=utf-8''%FF", b"x")), "is not utf-8"),
        (body(part('name="files"; filename*0="a"; filename*1="b"', b"x")), "in pieces"),
        (body(part('name="data"', b"x", "X: " + "y" * 17_000)), "bytes of headers"),
        (body(part('name="data"', b"[1]")).replace(b"\r\n", b"\n"), "does not end its line"),
    ],
)
def test_what_is_malformed_is_named(whole: bytes, words: str) -> None:
    assert words in refused(whole)


@pytest.mark.parametrize(
    "media",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=é",
     f"multipart/form-data; boundary={'x' * 71}", 'multipart/form-data; boundary="x "'],
)  # fmt: skip
def test_an_illegal_boundary_is_refused(media: str) -> None:
    assert "boundary" in refused(body(part('name="data"', b"[1]")), media)


def test_a_boundary_of_70_characters_is_legal() -> None:
    whole = body(part('name="data"', b"[1]")).replace(b"XX", b"x" * 70)
    assert decode(f"multipart/form-data; boundary={'x' * 70}", whole).data == [1]


def test_headers_up_to_the_limit_are_read() -> None:
    filler = "X-Filler: " + "y" * 15_000
    assert read(part('name="data"', b"[1]", filler)).data == [1]


def test_too_many_parts_are_refused() -> None:
    assert MAX_PARTS == 10_000
    limit_parts(5)
    try:
        one = part('name="files"; filename="a"', b"")
        assert len(parse_multipart("XX", body(*[one] * 5))) == 5
        assert "more than 5 parts" in refused(body(*[one] * 6))
    finally:
        limit_parts(MAX_PARTS)


@pytest.mark.parametrize("unit", [b"\r\n", b"\r\n--", b"\r\n--X", b"\r", b"-XX-", b"\r\n--Xx"])
def test_floods_of_near_delimiters_cost_no_more_than_their_length(unit: bytes) -> None:
    flood = unit * (4_000_000 // len(unit))
    whole = body(part('name="files"; filename="a"', flood))
    for given_body in (whole, memoryview(whole)):
        began = time.perf_counter()
        assert decode(MEDIA, given_body).files[0].size == len(flood)
        assert time.perf_counter() - began < 20  # the square of it would take hours


def test_as_many_parts_as_are_allowed_are_read() -> None:
    whole = memoryview(body(*[part('name="files"; filename="a"', b"12345678")] * MAX_PARTS))
    assert len(decode(MEDIA, whole).files) == MAX_PARTS


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=60)), min_size=1, max_size=5))
def test_what_the_client_writes_is_what_the_worker_reads(files: list[tuple[str, bytes]]) -> None:
    sent = encode_request([1, "é"], {"k": 1}, files)
    whole = sent.to_bytes()
    assert len(whole) == sent.size
    for given_body in (whole, memoryview(whole)):
        request = decode(sent.media_type, given_body)
        assert (request.data, request.parameters, request.count) == ([1, "é"], {"k": 1}, 2)
        assert [f.read() for f in request.files] == [content for _, content in files]


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([b"--XX", b"\r\n", b"--", b"a: b", b": ", b'"', b"x"]), max_size=14)
)
def test_no_arrangement_of_pieces_breaks_the_parser(pieces: list[bytes]) -> None:
    whole = b"--XX\r\n" + b"".join(pieces)
    try:
        parts = parse_multipart("XX", whole)
    except MalformedBody:
        with pytest.raises(MalformedBody):
            parse_multipart("XX", memoryview(whole))
    else:
        assert parts == parse_multipart("XX", memoryview(whole))
