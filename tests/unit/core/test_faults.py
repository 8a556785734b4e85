"""Fault points do nothing unless armed, and then what they were told at the passage told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from penstock.core.errors import InternalError, InvalidSetting
from penstock.core.faults import arm, fault, skipped


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    arm("")


def test_without_the_variable_nothing_happens() -> None:
    fault("run.claimed")
    assert not skipped("run.claimed")


def test_a_fault_raises_at_the_passage_it_was_told() -> None:
    arm("a=raise:3,b=raise")
    fault("a")
    fault("a")
    fault("unknown")
    with pytest.raises(InternalError, match="The fault b was armed"):
        fault("b")
    with pytest.raises(InternalError, match="The fault a was armed"):
        fault("a")
    fault("a")


def test_a_fault_may_delay_every_passage() -> None:
    arm("a=sleep:0.02")
    begun = time.perf_counter()
    fault("a")
    fault("a")
    assert time.perf_counter() - begun >= 0.04


def test_a_protection_is_left_out_only_by_its_name() -> None:
    arm("a=skip,b=raise")
    assert skipped("a")
    assert not skipped("b")
    fault("a")


def test_a_kill_ends_the_process_at_once() -> None:
    code = "from penstock.core.faults import fault\nfault('a'); print(1); fault('a'); print(2)"
    done = subprocess.run(
        [sys.executable, "-u", "-c", code],
        env={"PENSTOCK_FAULTS": "a=kill:2"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (-9, "1\n")


@pytest.mark.parametrize("text", ["a", "a=explode", "=kill", "a=kill:x"])
def test_a_list_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="PENSTOCK_FAULTS"):
        arm(text)
