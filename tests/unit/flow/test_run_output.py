"""What functions print and log carries the run, and nothing else does."""

from __future__ import annotations

import io
import logging
import os
import threading

import pytest

from penstock.codec.log_lines import MAX_TEXT_BYTES, read_line
from penstock.flow.context import CURRENT, Run
from penstock.flow.run_output import RunHandler, RunStream


def run(name: str, stage: int = 1) -> Run:
    made = Run(name * 36, None, [], 1, None)
    made.at = (stage, "pre")
    return made


class Pipe:
    """A pipe whose lines are read back as the server reads them."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.plain = io.StringIO()
        self.stream = RunStream(self.plain, self.write, "print")

    def lines(self):
        os.set_blocking(self.read, False)
        data = os.read(self.read, 1 << 20)
        return [read_line(line) for line in data.splitlines()]


def test_lines_of_runs_are_marked_and_others_pass_as_they_are():
    pipe = Pipe()
    print("loading", file=pipe.stream)
    CURRENT.set(run("a"))
    try:
        print("half", end="", file=pipe.stream)
        print(" and half\nsecond", file=pipe.stream)
    finally:
        CURRENT.set(None)
    assert pipe.plain.getvalue() == "loading\n"
    said = pipe.lines()
    assert [line.text for line in said] == ["half and half", "second"]
    assert {(line.run_id, line.stage, line.function, line.level) for line in said} == {
        ("a" * 36, 1, "pre", "print")
    }


def test_unfinished_lines_of_different_runs_do_not_mix():
    pipe = Pipe()

    def say(name: str) -> None:
        CURRENT.set(run(name))
        pipe.stream.write(f"{name} begins")
        barrier.wait()
        pipe.stream.write(" and ends\n")

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=say, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((line.run_id[0], line.text) for line in pipe.lines()) == [
        ("a", "a begins and ends"),
        ("b", "b begins and ends"),
    ]


def test_log_records_carry_their_level_and_each_line_of_a_traceback_the_run():
    pipe = Pipe()
    logger = logging.Logger("mine", logging.DEBUG)
    logger.addHandler(RunHandler(pipe.write))
    CURRENT.set(run("a", 2))
    try:
        logger.warning("low on %s", "rows")
        try:
            raise KeyError("x")
        except KeyError:
            logger.exception("failed")
    finally:
        CURRENT.set(None)
    logger.info("outside")
    first, *rest, last = pipe.lines()
    assert (first.level, first.text, first.stage) == ("WARNING", "low on rows", 2)
    assert len(rest) > 3
    assert {line.run_id for line in rest} == {"a" * 36}
    assert (last.run_id, last.text) == (None, "INFO mine: outside")


def test_a_long_line_is_cut_and_a_forged_head_is_plain_text():
    pipe = Pipe()
    CURRENT.set(run("a"))
    try:
        print("x" * 100_000, file=pipe.stream)
    finally:
        CURRENT.set(None)
    assert len(pipe.lines()[0].text) == MAX_TEXT_BYTES
    for forged in (b"\x1eonly", b"\x1ea b\x1ec", b"\x1er 1 two pre INFO\x1ex", b"\x1e\xff\x1e"):
        assert read_line(forged).run_id is None


@pytest.mark.parametrize(
    "head", ["run nan 0 pre print", "run inf 0 pre print", f"run 1.0 {10**30} pre print",
             "run 1.0 -1 pre print", "run -1 0 pre print"]
)  # fmt: skip
def test_a_head_with_a_time_or_a_stage_that_is_none_is_plain_text(head: str) -> None:
    said = read_line(f"\x1e{head}\x1ehello".encode())
    assert (said.run_id, said.at, said.stage) == (None, 0.0, 0)
    assert said.text.endswith("hello")
