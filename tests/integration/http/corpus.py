"""Requests as bytes, for every test that sends raw HTTP. Data only; `conftest` loads it."""

from __future__ import annotations

KEY = b"Bearer pk_p_01234567_predict"
DEPLOY_KEY = b"pk_d_01234567_deploy"
OTHER_PROJECT_KEY = b"pk_p_01234567_elsewhere"
READ_KEY = b"pk_r_01234567_read"

PATH = b"/v1/default/echo/predict"
#: The same deployment; the gateway does not know this spelling, so the app answers.
APP_PATH = b"/v1/default/%65cho/predict"


def post(
    body: bytes = b"[1]",
    *fields: bytes,
    path: bytes = PATH,
    key: bytes | None = KEY,
    media: bytes | None = b"application/json",
) -> bytes:
    """Return a predict request."""
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: test"]
    if key is not None:
        lines.append(b"Authorization: " + key)
    if media is not None:
        lines.append(b"Content-Type: " + media)
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, *fields, b"", b""]) + body


#: Name to arguments of `post`; each gives the same answer from the gateway and from the app.
PARITY: dict[str, tuple[tuple[bytes, ...], dict[str, bytes | None]]] = {
    "a JSON body": ((b'{"data": [1, 2]}',), {}),
    "an empty body": ((b"",), {}),
    "no content type": ((b"[1]",), {"media": None}),
    "a media type with parameters": ((b"x",), {"media": b"multipart/form-data; boundary=b"}),
    "an npy body": ((b"\x93NUMPY\x01\x00",), {"media": b"application/x-npy"}),
    "an answer asked as npy": ((b"[1]", b"Accept: text/html, Application/X-NPY;q=0.5"), {}),
    "a body over the inline limit": ((b"b" * 300_000,), {}),
    "a body at the inline limit": ((b"b" * 262_144,), {}),
    "a key without Bearer": ((b"[1]",), {"key": b"pk_p_01234567_predict"}),
    "no key": ((b"[1]",), {"key": None}),
    "an unknown key": ((b"[1]",), {"key": b"Bearer nobody"}),
    "an unknown key and no body": ((b"",), {"key": b"Bearer nobody"}),
    "an unknown key and a large body": ((b"b" * 300_000,), {"key": b"Bearer nobody"}),
    "a key of another project": ((b"[1]",), {"key": OTHER_PROJECT_KEY}),
    "a key that may only read": ((b"[1]",), {"key": READ_KEY}),
    "a deploy key": ((b"[1]",), {"key": DEPLOY_KEY}),
    "too large a body": ((b"b" * 1_000_001,), {}),
    "a failing function": ((b"fail",), {}),
    "a failing function, for its author": ((b"fail",), {"key": DEPLOY_KEY}),
    "a worker that died": ((b"died",), {}),
    "a worker that died, for its author": ((b"died",), {"key": DEPLOY_KEY}),
    "a full queue": ((b"overloaded",), {}),
    "an answer that came too late": ((b"late",), {}),
    "a large answer": ((b"large",), {}),
    "an answer without timing": ((b"untimed",), {}),
    "a connection to be closed": ((b"[1]", b"Connection: close"), {}),
    "a refusal on a connection to be closed": ((b"[1]", b"Connection: close"), {"key": None}),
    "no body on a connection to be closed": ((b"", b"Connection: close"), {}),
    "an offer of HTTP/2": ((b"[1]", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), {}),
    "a query string": ((b"[1]",), {"path": PATH + b"?a=1"}),
    "a content coding": ((b"[1]", b"Content-Encoding: gzip"), {}),
}

_HEAD = b"POST " + PATH + b" HTTP/1.1\r\nHost: test\r\nAuthorization: " + KEY + b"\r\n"
_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"

#: Name to bytes that must give one answer, 400, and a closed connection.
MALFORMED: dict[str, bytes] = {
    "Content-Length and Transfer-Encoding": _HEAD
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + _SMUGGLED,
    "Transfer-Encoding and Content-Length": _HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    + _SMUGGLED,
    "two different lengths": _HEAD + b"Content-Length: 0\r\nContent-Length: 39\r\n\r\n" + _SMUGGLED,
    "the same length twice": _HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n[1]",
    "a list of lengths": _HEAD + b"Content-Length: 3, 3\r\n\r\n[1]",
    "a signed length": _HEAD + b"Content-Length: +5\r\n\r\n" + _SMUGGLED,
    "a negative length": _HEAD + b"Content-Length: -1\r\n\r\n" + _SMUGGLED,
    "a hexadecimal length": _HEAD + b"Content-Length: 0x3\r\n\r\n[1]",
    "a length with a space inside": _HEAD + b"Content-Length: 1 0\r\n\r\n" + _SMUGGLED,
    "a length beyond 64 bits": _HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    "a length of 19 digits": _HEAD + b"Content-Length: 9000000000000000000\r\n\r\n",
    "an empty length": _HEAD + b"Content-Length: \r\n\r\n" + _SMUGGLED,
    "chunked, identity": _HEAD
    + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
    + _SMUGGLED,
    "gzip, chunked": _HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + _SMUGGLED,
    "identity": _HEAD + b"Transfer-Encoding: identity\r\n\r\n" + _SMUGGLED,
    "an unknown coding": _HEAD + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n" + _SMUGGLED,
    "two codings": _HEAD
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    + _SMUGGLED,
    "a vertical tab before chunked": _HEAD
    + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"
    + _SMUGGLED,
    "a space before the colon": _HEAD + b"Content-Length : 3\r\n\r\n[1]",
    "a folded field": _HEAD + b"X: a\r\n Content-Length: 3\r\n\r\n[1]",
    "a folded first field": b"POST " + PATH + b" HTTP/1.1\r\n Host: test\r\n\r\n",
    "NUL in a value": _HEAD + b"X: a\x00b\r\n\r\n" + _SMUGGLED,
    "NUL in a name": _HEAD + b"X\x00: a\r\n\r\n" + _SMUGGLED,
    "a bare LF between fields": _HEAD + b"X: a\nContent-Length: 3\r\n\r\n[1]",
    "a bare CR in a value": _HEAD + b"X: a\rContent-Length: 3\r\n\r\n[1]",
    "an empty name": _HEAD + b": a\r\n\r\n" + _SMUGGLED,
    "a field without colon": _HEAD + b"Nonsense\r\n\r\n" + _SMUGGLED,
    "no host": b"POST " + PATH + b" HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": _HEAD + b"Host: other\r\nContent-Length: 0\r\n\r\n",
    "two keys": _HEAD + b"Authorization: x\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\nHost: test\r\n\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\nHost: test\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two spaces before the version": b"GET /healthz  HTTP/1.1\r\nHost: test\r\n\r\n",
    "an unknown method": b"BREW /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    "a lower-case method": b"get /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    "CONNECT": b"CONNECT test:80 HTTP/1.1\r\nHost: test\r\n\r\n",
    "an address that is not a path": b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n",
    "a byte over 127 in the address": b"GET /h\xe9 HTTP/1.1\r\nHost: test\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "a line of noise": b"\x00\x01\x02\r\n\r\n",
}

_CHUNKED = _HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

#: Name to a chunked request that must give one answer, 400, and a closed connection.
MALFORMED_CHUNKS: dict[str, bytes] = {
    "a size that is not a number": _CHUNKED + b"x\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "a signed size": _CHUNKED + b"+3\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "a size with 0x": _CHUNKED + b"0x3\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "a size beyond 64 bits": _CHUNKED + b"fffffffffffffffff\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "an empty size": _CHUNKED + b"\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "a size ended by LF": _CHUNKED + b"3\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "a chunk longer than its size": _CHUNKED + b"2\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "a chunk ended by LF": _CHUNKED + b"3\r\n[1]\n0\r\n\r\n" + _SMUGGLED,
    "a chunk ended by two bytes": _CHUNKED + b"3\r\n[1]XX0\r\n\r\n" + _SMUGGLED,
    "LF in an extension": _CHUNKED + b"3;a\nb\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "CR in an extension": _CHUNKED + b"3;a\rb\r\n[1]\r\n0\r\n\r\n" + _SMUGGLED,
    "a malformed trailer": _CHUNKED + b"3\r\n[1]\r\n0\r\nnonsense\r\n\r\n" + _SMUGGLED,
    "an endless size line": _CHUNKED + b"3;" + b"a" * 5000,
}


def chunked(*chunks: bytes, path: bytes = PATH, fields: bytes = b"") -> bytes:
    """Return a chunked predict request."""
    head = (
        b"POST " + path + b" HTTP/1.1\r\nHost: test\r\nAuthorization: " + KEY + b"\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n" + fields + b"\r\n"
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + b"0\r\n\r\n"
