from __future__ import annotations

import asyncio
import os
import time

from penstock.engine.local.logs import MAX_BYTES, MAX_LINE_BYTES, LogPipe, LogTail


def read_through(writes: list[bytes], bytes_per_s: int = 1 << 30) -> list[str]:
    """What a tail holds after a pipe carried `writes` and was closed."""

    async def main() -> list[str]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        tail = LogTail()
        pipe = LogPipe(asyncio.get_running_loop(), reader, tail, bytes_per_s)
        for data in writes:
            await asyncio.to_thread(os.write, writer, data)
        os.close(writer)
        pipe.close()
        return tail.lines()

    return asyncio.run(main())


def test_lines_are_kept_in_order_even_when_they_come_in_pieces():
    assert read_through([b"one\ntw", b"o\nthree"]) == ["one", "two", "three"]


def test_only_the_last_200_lines_are_kept():
    lines = read_through([b"%d\n" % i for i in range(1000)])
    assert lines == [str(i) for i in range(800, 1000)]


def test_a_burst_of_many_short_lines_keeps_the_last_200():
    lines = read_through([b"".join(b"%d\n" % i for i in range(5000))])
    assert lines == [str(i) for i in range(4800, 5000)]


def test_a_long_line_is_cut():
    (line,) = read_through([b"x" * 20_000 + b"\n"])
    assert line == "x" * MAX_LINE_BYTES + "…"


def test_a_line_that_never_ends_does_not_grow():
    (line,) = read_through([b"x" * 60_000] * 20)
    assert len(line) == MAX_LINE_BYTES + 1


def test_long_lines_together_stay_below_the_limit():
    lines = read_through([b"x" * 8000 + b"\n"] * 200)
    assert 0 < sum(map(len, lines)) <= MAX_BYTES


def test_bytes_that_are_no_text_are_shown_all_the_same():
    assert read_through([b"caf\xe9\n"]) == ["caf�"]


def test_a_flood_has_the_server_for_a_part_of_the_time_only():
    def slow(_line: str) -> None:
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass

    tail = LogTail(slow)
    assert tail.has_time(1.0)
    tail.add([b"x"] * 50)
    assert not tail.has_time(1.0)
    assert not tail.has_time(1.04), "it is still the same moment"
    assert tail.has_time(1.06)


def test_a_line_is_handed_on_as_it_comes():
    heard: list[str] = []
    LogTail(heard.append).add([b"a", b"b"])
    assert heard == ["a", "b"]
