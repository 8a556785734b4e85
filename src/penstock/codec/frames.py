"""Frames between the server process and a worker: calls down, replies up.

Each worker has three unix sockets:

* **data** (stream): `CALL` frames down, `REPLY` frames up. Fixed binary headers (little endian),
  bodies opaque. A body over `INLINE_LIMIT` bytes travels as a memory file descriptor (`HAS_FD`).
* **control** (stream): typed messages, see `penstock.codec.worker_messages`.
* **memory** (stream): the worker's requests to the memory store, see `penstock.codec.memory`.

Layout of a frame: a header whose first four bytes are the number of bytes that follow them in the
frame (header rest, texts, inline body).

    CALL   u32 rest | u8 kind=1 | u8 flags | u16 media_size | u64 call_id
           | i64 arrived_ns | i64 deadline_ns | 36s run_id | media type | body or u64 fd_size
    REPLY  u32 rest | u8 kind=2 | u8 flags | u8 media | u8 code_size | u16 timing_size
           | u64 call_id | error code | Server-Timing text | body or u64 fd_size

Times are `CLOCK_MONOTONIC` nanoseconds, which all processes of one machine share.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from penstock.core.errors import FrameError

#: Bodies over this many bytes travel as a memory file, not through the socket.
INLINE_LIMIT = 256 * 1024

#: Largest frame a peer may announce: an inline body plus its header and texts.
FRAME_LIMIT = INLINE_LIMIT + 128 * 1024

CALL = 1
REPLY = 2

# Flags of a CALL.
HAS_FD = 1
SHOW_TRACEBACK = 2
ACCEPT_NPY = 4
ACCEPT_ARROW = 8
BARE_RESULT = 16  # the result without its envelope
INFER = 32  # a request of the Open Inference Protocol
BODY_FILE = 64  # with HAS_FD: the file is used again after the answer

# Media of a REPLY.
MEDIA_JSON = 0
MEDIA_NPY = 1
MEDIA_OIP = 2  # u32 size of the JSON header, the header, binary tensors
MEDIA_ARROW = 3

_SIZE = struct.Struct("<I")
_CALL = struct.Struct("<IBBHQqq36s")
_REPLY = struct.Struct("<IBBBBHQ")
_FD_SIZE = struct.Struct("<Q")

_PRINTABLE = bytes(range(0x20, 0x7F))  # what may be in the header of an answer

CALL_HEADER_BYTES = _CALL.size
REPLY_HEADER_BYTES = _REPLY.size


class CallFrame(NamedTuple):
    """One call as the worker gets it. `body` is a view valid until the call is answered."""

    call_id: int
    run_id: str
    flags: int
    arrived_ns: int
    deadline_ns: int
    media_type: str
    body: Any
    body_size: int


class ReplyFrame(NamedTuple):
    """One answer. `code` is empty on success, else the error code; `timing` is Server-Timing."""

    call_id: int
    code: bytes
    media: int
    timing: bytes
    body: bytes


def call_header(
    call_id: int,
    run_id: bytes,
    flags: int,
    arrived_ns: int,
    deadline_ns: int,
    media_type: bytes,
    inline_size: int,
) -> bytes:
    """Return header and media type of a CALL frame; `inline_size` body bytes follow it."""
    media_size = len(media_type)
    rest = _CALL.size - 4 + media_size + inline_size
    head = _CALL.pack(rest, CALL, flags, media_size, call_id, arrived_ns, deadline_ns, run_id)
    return head + media_type


def reply_header(
    call_id: int, flags: int, media: int, code: bytes, timing: bytes, inline_size: int
) -> bytes:
    """Return header and texts of a REPLY frame; `inline_size` body bytes follow it."""
    code_size, timing_size = len(code), len(timing)
    rest = REPLY_HEADER_BYTES - 4 + code_size + timing_size + inline_size
    head = _pack_reply(rest, REPLY, flags, media, code_size, timing_size, call_id)
    return b"%b%b%b" % (head, code, timing) if code_size else head + timing


def fd_size(size: int) -> bytes:
    """Return the eight bytes that stand in for a body that travels as a descriptor."""
    return _FD_SIZE.pack(size)


def split_frames(buffer: bytearray, limit: int = FRAME_LIMIT) -> list[memoryview]:
    """Take the complete frames off the front of `buffer`.

    Returns:
        Each frame without its four size bytes, over a private copy of the bytes.

    Raises:
        FrameError: A frame announces more than `limit` bytes.
    """
    ready = 0
    total = len(buffer)
    bounds: list[tuple[int, int]] = []
    while total - ready >= 4:
        (rest,) = _SIZE.unpack_from(buffer, ready)
        if rest > limit:
            raise FrameError(f"A frame of {rest} bytes is announced; the limit is {limit}.")
        end = ready + 4 + rest
        if end > total:
            break
        bounds.append((ready + 4, end))
        ready = end
    if not ready:
        return []
    taken = memoryview(bytes(memoryview(buffer)[:ready]))
    del buffer[:ready]
    return [taken[start:end] for start, end in bounds]


def read_calls(data: bytes, into: list[CallFrame]) -> int:
    """Append the complete CALL frames at the front of `data` to `into`.

    Bodies are views of `data`, which nobody may write to. A body that travels as a descriptor is
    None, with its size in `body_size`.

    Returns:
        How many bytes of `data` were taken.

    Raises:
        FrameError: Something else than a CALL frame, or one whose sizes do not add up.
    """
    view = memoryview(data)
    total = len(data)
    at = 0
    while total - at >= CALL_HEADER_BYTES:
        rest, kind, flags, media_size, call_id, arrived, deadline, run_id = _unpack_call(data, at)
        end = at + 4 + rest
        if end > total and rest <= FRAME_LIMIT:
            return at
        media_at = at + CALL_HEADER_BYTES
        body_at = media_at + media_size
        if rest > FRAME_LIMIT or kind != CALL or body_at > end:
            break
        body: memoryview | None = view[body_at:end]
        size = end - body_at
        if flags & HAS_FD:
            body, size = None, _read_fd_size(data, body_at, end)
        media = data[media_at:body_at].decode("latin-1")
        run = run_id.decode("latin-1")
        # Without the named tuple's own `__new__`: this is done for every call.
        call = (call_id, run, flags, arrived, deadline, media, body, size)
        into.append(_new_tuple(CallFrame, call))
        at = end
    if total - at >= 4:
        _check_call_size(data, at)
    return at


def _check_call_size(data: bytes, at: int) -> None:
    """Raise the error for what stands at `at`, unless it may be the beginning of a CALL frame."""
    (rest,) = _unpack_size(data, at)
    if rest > FRAME_LIMIT or rest < CALL_HEADER_BYTES - 4:
        raise FrameError(f"A CALL frame of {rest} bytes is announced.")
    if len(data) - at >= CALL_HEADER_BYTES:
        raise FrameError(f"Frame kind {data[at + 4]} is not a whole CALL.")


class Reply(NamedTuple):
    """One answer as the server gets it. `body` is None when it travels as a descriptor."""

    call_id: int
    media: int
    code: bytes
    timing: bytes
    body: bytes | None
    body_size: int


def read_replies(data: memoryview, into: list[Reply], most_media: int = MEDIA_ARROW) -> int:
    """Append the complete REPLY frames at the front of `data` to `into`; texts are copies.

    No kind of body above `most_media` is taken.

    Returns:
        How many bytes of `data` were taken.

    Raises:
        FrameError: It is no REPLY frame, its sizes do not add up, or it says what is no header.
    """
    total = len(data)
    at = 0
    while total - at >= 4:
        (rest,) = _unpack_size(data, at)
        end = at + 4 + rest
        if end > total and rest <= FRAME_LIMIT:
            break
        text_at = at + REPLY_HEADER_BYTES
        if rest > FRAME_LIMIT or text_at > end:
            raise FrameError(f"A REPLY frame of {rest} bytes is announced.")
        _, kind, flags, media, code_size, timing_size, call_id = _unpack_reply(data, at)
        timing_at = text_at + code_size
        body_at = timing_at + timing_size
        if kind != REPLY or body_at > end:
            raise FrameError(f"Frame kind {kind} is not a whole REPLY.")
        code = bytes(data[text_at:timing_at]) if code_size else b""
        timing = bytes(data[timing_at:body_at]) if timing_size else b""
        if media > most_media or timing.translate(None, _PRINTABLE):
            raise FrameError("A REPLY frame has a header that no answer may have.")
        if flags & HAS_FD:
            size = _read_fd_size(data, body_at, end)
            into.append(Reply(call_id, media, code, timing, None, size))
        else:
            body = bytes(data[body_at:end])
            into.append(Reply(call_id, media, code, timing, body, len(body)))
        at = end
    return at


def _read_fd_size(data: bytes | memoryview, start: int, end: int) -> int:
    if end - start != _FD_SIZE.size:
        raise FrameError("A descriptor body has no size.")
    size: int = _FD_SIZE.unpack_from(data, start)[0]
    return size


_new_tuple = tuple.__new__
_unpack_size = _SIZE.unpack_from
_unpack_call = _CALL.unpack_from
_pack_reply = _REPLY.pack
_unpack_reply = _REPLY.unpack_from
