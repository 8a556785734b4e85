"""What runs saved goes out in requests that the server takes, and one run's fault is its own."""

from __future__ import annotations

import pytest

from penstock.codec.memory import (
    MOST_VALUE_BYTES,
    REQUEST_LIMIT,
    Publish,
    Swap,
    WorkerAnswer,
    WorkerRequest,
    Write,
)
from penstock.codec.worker_messages import pack_message
from penstock.core.errors import InternalError, MemoryQuotaExceeded
from penstock.flow.context import Run
from penstock.flow.local_memory import LocalMemory
from penstock.flow.memory import RunMemory, get, save
from penstock.flow.publish import publish_all
from penstock.flow.space import MISSING, MemorySpace

MIB = 1024 * 1024


class Server:
    """A store behind a socket: a request that is too large ends its worker."""

    def __init__(self) -> None:
        self._store = LocalMemory()
        self.sizes: list[int] = []
        self.space = MemorySpace(self.ask)

    def ask(self, request: WorkerRequest) -> WorkerAnswer:
        size = len(pack_message(request)) - 4
        assert size <= REQUEST_LIMIT, "the worker is killed"
        self.sizes.append(size)
        return self._store.ask(request)

    def run_that_saved(self, name: str, value: bytes) -> Run:
        run = Run(name[:20], None, [], 0, self.space)
        run.memory = RunMemory(self.space)
        run.memory.save(name, value, "deployment", None)
        return run

    def value(self, name: str) -> object:
        return self.space.read("deployment", name)


def test_runs_that_together_save_too_much_for_one_request_are_published_in_parts() -> None:
    server = Server()
    runs = [server.run_that_saved(f"n{number}", b"x" * (11 * MIB // 10)) for number in range(64)]
    publish_all(server.space, runs)
    assert [run.error for run in runs] == [None] * 64
    assert len(server.sizes) == 2
    assert [len(server.value(f"n{number}")) for number in (0, 63)] == [11 * MIB // 10] * 2  # type: ignore[arg-type]


def test_a_run_that_saves_more_than_any_server_takes_fails_and_the_others_succeed() -> None:
    server = Server()
    runs = [
        server.run_that_saved("before", b"1"),
        server.run_that_saved("large", b"x" * (70 * MIB)),
        server.run_that_saved("after", b"2"),
    ]
    publish_all(server.space, runs)
    assert [type(run.error) for run in runs] == [type(None), MemoryQuotaExceeded, type(None)]
    assert "'large'" in str(runs[1].error)
    assert [server.value(name) for name in ("before", "large", "after")] == [b"1", MISSING, b"2"]


def test_an_update_to_more_than_any_server_takes_is_refused_before_it_travels() -> None:
    server = Server()
    with pytest.raises(MemoryQuotaExceeded, match="'large'"):
        server.space.update("deployment", "large", lambda _: b"x" * (70 * MIB), None, None)
    assert server.value("large") is MISSING


def test_a_name_that_no_request_can_hold_fails_its_own_run_only() -> None:
    server = Server()
    runs = [server.run_that_saved(name, b"1") for name in ("before", "\ud800", "after")]
    publish_all(server.space, runs)
    assert [type(run.error) for run in runs] == [type(None), InternalError, type(None)]
    assert server.value("after") == b"1"


def test_the_largest_value_that_may_be_allowed_fits_in_a_request_with_the_longest_name() -> None:
    name, value = "\N{SNOWMAN}" * (1024 // 3), b"x" * MOST_VALUE_BYTES
    publish = Publish([Write("deployment", name, value, 1e9)])
    swap = Swap("deployment", name, 2**63, value, 1e9)
    assert max(len(pack_message(request)) for request in (publish, swap)) <= REQUEST_LIMIT + 4


def test_what_is_refused_outside_a_run_is_forgotten() -> None:
    with pytest.raises(MemoryQuotaExceeded):
        save("too-large", b"x" * (70 * MIB))
    with pytest.raises(NameError):
        get("too-large")
