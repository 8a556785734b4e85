"""What processes say that run users' code is not believed: whom they forked, what they are."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec
import pytest

from penstock.codec.light import MOST_BYTES, MOST_CONTAINERS
from penstock.core.errors import FrameError
from penstock.engine.base import VersionKey
from penstock.engine.local import failures, orphans, worker_facts

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
def test_a_child_that_was_just_started_is_a_new_child() -> None:
    since = orphans.now()
    with subprocess.Popen(["/bin/sh", "-c", "read _"], stdin=subprocess.PIPE) as child:
        assert orphans.is_new_child(child.pid, since)


@linux
@pytest.mark.parametrize("whose", ["init", "parent", "own"])
def test_processes_of_others_are_no_new_children(whose: str) -> None:
    pid = {"init": 1, "parent": os.getppid(), "own": os.getpid()}[whose]
    assert not orphans.is_new_child(pid, 0.0)


@linux
def test_a_child_that_was_there_before_is_not_new() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read _"], stdin=subprocess.PIPE) as child:
        begun = orphans.now()
        until = time.monotonic() + 10
        while orphans.now() <= begun + 0.05 and time.monotonic() < until:
            os.sched_yield()
        assert not orphans.is_new_child(child.pid, orphans.now())


def test_facts_are_taken_and_later_ones_join_them() -> None:
    known = worker_facts.joined({}, {"stages": [{"stage": 1, "batching": None}]})
    assert worker_facts.joined(known, {"worn": "it is"}) == {**known, "worn": "it is"}


@pytest.mark.parametrize(
    "facts",
    [
        {"stages": "none"},
        {"stages": [1]},
        {"stages": [{"stage": "first"}]},
        {"stages": [{"stage": 1, "batching": [1]}]},
        {"stages": [{"stage": 1, "inputs": 5}]},
        {"stages": [{"stage": 1, "inputs": {"name": "x"}}]},
        {"stages": [{"stage": 1, "inputs": ["x"]}]},
        {"stages": [{"stage": 1, "inputs": [{"shape": 3}]}]},
        {"stages": [{"stage": 1, "functions": 5}]},
        {"text": "x" * MOST_BYTES},
        {"lists": [[] for _ in range(MOST_CONTAINERS)]},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_facts_that_pages_cannot_show_are_refused(facts: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        worker_facts.read(msgspec.json.encode(facts))


@pytest.mark.parametrize(
    "told",
    [b"", b"[]", b"{", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a":' * 5000 + b"1" + b"}" * 5000],
)
def test_what_is_no_json_object_is_no_fact(told: bytes) -> None:
    with pytest.raises(FrameError):
        worker_facts.read(told)


def test_many_small_facts_come_to_their_limit() -> None:
    tenth = "x" * (MOST_BYTES // 10)
    facts = worker_facts.joined({}, {f"fact {number}": tenth for number in range(9)})
    with pytest.raises(FrameError):
        worker_facts.joined(facts, {"one": tenth, "more": tenth})


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"message": 5, "stage": "first", "hint": [], "traceback": {}, "facts": ["none"]},
        {"facts": {"stage": 1, "message": "other", "logs": 7, 5: 6, "place": "there"}},
    ],
)
def test_any_reason_for_not_loading_becomes_an_error(said: dict[str, object]) -> None:
    error = failures.load_failed(VersionKey("shop", "prices", 1), said, ["a line"])
    told = error.to_dict(with_traceback=True)
    assert told["code"] == "load_failed"
    assert isinstance(told["message"], str)
    assert error.facts["logs"] == ["a line"]
