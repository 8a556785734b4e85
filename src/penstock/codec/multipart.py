"""Finds the parts of a `multipart/form-data` body without copying them (RFC 7578, strictly).

The whole body is in memory when the worker gets it, so parsing is a few searches for the
delimiter; the result says where each part's content lies. Called by `payload`; `request` writes
what this reads.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from penstock.codec.files import OCTETS, find_bytes
from penstock.codec.headers import extended_value, percent_decoded, split_parameters
from penstock.core.errors import MalformedBody

MAX_PARTS = 10_000

#: The present limit; every process of a server is told another one when it starts.
_limit = [MAX_PARTS]
MAX_HEADER_BYTES = 16 * 1024

_USUAL_HEADER_BYTES = 1024
_LINE_END = b"\r\n"
_HEADERS_END = b"\r\n\r\n"
# Name, file name and media type of a part.
About = tuple[str, str | None, str]

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PLAIN_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})


class Part(NamedTuple):
    """One part: its content is `body[start:end]`. `filename` is None when none was given."""

    name: str
    filename: str | None
    content_type: str
    start: int
    end: int


def limit_parts(count: int) -> None:
    """Let bodies have `count` parts at most, from now on in this process."""
    _limit[0] = count


def parse_multipart(boundary: str | None, body: bytes | memoryview) -> list[Part]:
    """Return the parts of `body` in the order sent.

    Args:
        boundary: The `boundary` parameter of the Content-Type.
        body: The whole body. It is searched, never copied as a whole.

    Raises:
        MalformedBody: No legal boundary, no closing delimiter, more parts than allowed (10,000), a
            part with more than 16 KiB of headers, or headers that cannot be read.
    """
    if boundary is None or not _BOUNDARY.fullmatch(boundary):
        raise MalformedBody(
            f"The multipart boundary is {boundary!r}; it must be 1 to 70 plain characters.",
            hint="Let the HTTP client write the Content-Type header of a multipart request.",
        )
    dashed = b"--" + boundary.encode("ascii")
    delimiter = _LINE_END + dashed
    parts: list[Part] = []
    most = _limit[0]
    at = _after_first(body, dashed, delimiter)
    while not _is_closing(body, at):
        if len(parts) == most:
            raise MalformedBody(
                f"The multipart body has more than {most} parts.",
                hint="Send fewer at once, or raise the server's setting max_parts.",
            )
        about, start = _read_headers(body, _after_line(body, at), len(parts))
        # The line end before the content may be the one that belongs to the delimiter.
        end = _find(body, delimiter, start - 2)
        if end < 0:
            raise _cut_short(len(parts))
        parts.append(Part(*about, start, max(start, end)))
        at = end + len(delimiter)
    return parts


def _find(body: bytes | memoryview, needle: bytes, start: int) -> int:
    if isinstance(body, bytes):
        return body.find(needle, start)
    return find_bytes(body, needle, start)


def _after_first(body: bytes | memoryview, dashed: bytes, delimiter: bytes) -> int:
    if bytes(body[: len(dashed)]) == dashed:
        return len(dashed)
    found = _find(body, delimiter, 0)
    if found < 0:
        raise MalformedBody(
            "The multipart body does not contain its boundary.",
            hint="The Content-Type header and the body must come from the same encoder.",
        )
    return found + len(delimiter)


def _is_closing(body: bytes | memoryview, at: int) -> bool:
    return bytes(body[at : at + 2]) == b"--"


def _after_line(body: bytes | memoryview, at: int) -> int:
    line = bytes(body[at : at + 128])
    blank = len(line) - len(line.lstrip(b" \t"))
    if line[blank : blank + 2] != _LINE_END:
        raise MalformedBody(
            f"The multipart delimiter before byte {at} does not end its line.",
            hint="Lines end in CR LF, and no content may contain the boundary.",
        )
    return at + blank + 2


def _read_headers(body: bytes | memoryview, at: int, number: int) -> tuple[About, int]:
    for size, read in ((_USUAL_HEADER_BYTES, _about), (MAX_HEADER_BYTES, _about.__wrapped__)):
        head = bytes(body[at : at + size + 4])
        if head[:2] == _LINE_END:
            return read(b""), at + 2
        end = head.find(_HEADERS_END)
        if end >= 0:
            return read(head[:end]), at + end + 4
    if at + MAX_HEADER_BYTES + 4 > len(body):
        raise _cut_short(number)
    raise MalformedBody(f"Part {number} has more than {MAX_HEADER_BYTES} bytes of headers.")


@lru_cache(maxsize=256)
def _about(head: bytes) -> About:
    # Cached because callers send the same few headers again and again; long ones are not kept.
    headers = _headers(head)
    kind, parameters = split_parameters(headers.get("content-disposition", ""))
    name = parameters.get("name")
    if kind != "form-data" or name is None:
        raise MalformedBody(
            f"A part of the multipart body has no name; its headers are {head[:80]!r}.",
            hint='Each part needs the header: Content-Disposition: form-data; name="files".',
        )
    encoding = headers.get("content-transfer-encoding", "").lower()
    if encoding not in _PLAIN_ENCODINGS:
        raise MalformedBody(
            f"The part {name!r} has Content-Transfer-Encoding {encoding!r}.",
            hint="Send the bytes as they are.",
        )
    filename = _filename(parameters, name)
    return percent_decoded(name), filename, headers.get("content-type") or OCTETS


def _headers(head: bytes) -> dict[str, str]:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    found: dict[str, str] = {}
    for line in text.split("\r\n") if text else ():
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not name or name != name.strip() or key in found:
            raise MalformedBody(f"A header of a part cannot be read: {line[:80]!r}.")
        found[key] = value.strip()
    return found


def _filename(parameters: dict[str, str], part: str) -> str | None:
    if "filename*" in parameters:
        return extended_value(parameters["filename*"])
    if any(name.startswith("filename*") for name in parameters):
        raise MalformedBody(
            f"The file name of the part {part!r} is given in pieces (filename*0).",
            hint="Give it whole, as filename or filename*.",
        )
    written = parameters.get("filename")
    return None if written is None else percent_decoded(written)


def _cut_short(number: int) -> MalformedBody:
    return MalformedBody(
        f"The multipart body ends inside part {number}.",
        hint="The closing delimiter is missing: the body was cut short, or its lines do not end "
        "in CR LF.",
    )
