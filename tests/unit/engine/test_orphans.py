"""Processes that left their worker's session come to us, and to their end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from penstock.engine.local.orphans import Orphans
from penstock.engine.sandbox import kernel, seccomp

pytestmark = pytest.mark.skipif(not seccomp.available(), reason="needs seccomp")

Start = Callable[[bool], int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that leads a session of its own and waits, confined or not."""
    started: list[int] = []

    def _start(confined: bool) -> int:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.setsid()
                if confined:
                    kernel.no_new_privileges()
                    seccomp.apply((seccomp.AF_INET,), shared_user=True)
                os.write(writer, b"!")
                signal.pause()
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        started.append(pid)
        os.close(writer)
        assert os.read(reader, 1) == b"!"
        os.close(reader)
        return pid

    yield _start
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def lives(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def test_a_confined_process_of_an_unknown_session_is_ended_after_a_while(start: Start) -> None:
    orphans = Orphans(stray_s=0.0)
    stray, followed, free = start(True), start(True), start(False)
    orphans.follow(followed)
    orphans.sweep()
    assert lives(stray), "it may be a worker that was just forked"
    orphans.sweep()
    os.waitid(os.P_PID, stray, os.WEXITED | os.WNOWAIT)
    orphans.sweep()
    with pytest.raises(ChildProcessError):
        os.waitpid(stray, os.WNOHANG)
    assert lives(followed), "it is a worker's"
    assert lives(free), "it is none of a worker's: nothing confines it"


def test_it_is_let_be_until_then(start: Start) -> None:
    orphans = Orphans(stray_s=600.0)
    stray = start(True)
    for _ in range(3):
        orphans.sweep()
    assert lives(stray)
