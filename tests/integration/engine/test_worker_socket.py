"""The memory socket between worker and server: requests, answers, and a file passed along."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import threading

import pytest

from penstock.codec.memory import Missing, Read, Refused, Upload, Uploaded, Value
from penstock.codec.worker_messages import pack_message, unpack_message
from penstock.core.errors import FrameError, UploadFailed
from penstock.engine.base import VersionKey
from penstock.engine.local.conversation import Conversation
from penstock.engine.local.talk import serve_memory

KEY = VersionKey("default", "flow", 1)


def talk(handler, story) -> None:
    """Serve one socket by `handler` while `story(messages, socket)` runs in a thread."""

    async def whole() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        serving = asyncio.create_task(serve_memory(ours, KEY, handler))
        messages = Conversation(theirs.detach())
        try:
            await asyncio.to_thread(story, messages)
            messages._sock.close()
            await serving
        finally:
            messages._sock.close()
            ours.close()

    before = open_files()
    asyncio.run(asyncio.wait_for(whole(), 20))
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def answer(key, request):
    if isinstance(request, Read):
        return Value(7, b"value") if request.name == "known" else Missing()
    if request.name == "refuse":
        raise UploadFailed("It was refused.")
    assert isinstance(request, Upload)
    text = os.pread(request.fd, 99, 0).decode()
    return Uploaded(f"http://here/{request.name}/{text}/{os.get_inheritable(request.fd)}")


def test_a_file_goes_along_as_an_open_descriptor(tmp_path) -> None:
    def story(messages) -> None:
        for number in range(20):
            path = tmp_path / f"{number}.txt"
            path.write_text(f"text {number}")
            with path.open("rb") as file:
                got = messages.ask(Upload("a.txt", None, file.fileno()))
            assert got == Uploaded(f"http://here/a.txt/text {number}/False")
            assert messages.ask(Read("deployment", "known")) == Value(7, b"value")

    talk(answer, story)


def test_an_upload_that_is_refused_leaves_nothing_open(tmp_path) -> None:
    def story(messages) -> None:
        with (tmp_path / "a").open("w+b") as file:
            for _ in range(5):
                got = messages.ask(Upload("refuse", None, file.fileno()))
                assert isinstance(got, Refused)
        assert messages.ask(Read("deployment", "unknown")) == Missing()

    talk(answer, story)


def test_several_threads_of_a_worker_may_ask_at_once(tmp_path) -> None:
    def story(messages) -> None:
        found = []

        def ask(number: int) -> None:
            path = tmp_path / f"{number}.txt"
            path.write_text(str(number))
            with path.open("rb") as file:
                for _ in range(10):
                    got = messages.ask(Upload(str(number), None, file.fileno()))
                    found.append(got.url == f"http://here/{number}/{number}/False")

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 40

    talk(answer, story)


def _with_files(messages, message: bytes, count: int) -> None:
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
    messages._sock.sendmsg([message], [rights] if fds else [])
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_an_upload_without_exactly_one_file_ends_the_conversation(count: int) -> None:
    def story(messages) -> None:
        # The worker's own number of a descriptor is not believed.
        _with_files(messages, pack_message(Upload("a", None, 1)), count)

    with pytest.raises(FrameError):
        talk(answer, story)


def test_a_file_that_comes_with_another_request_is_closed() -> None:
    def story(messages) -> None:
        for _ in range(3):
            _with_files(messages, pack_message(Read("deployment", "unknown")), 1)
            said = messages._sock.recv(99)
            assert isinstance(unpack_message(said[4:], Missing | Value), Missing)

    talk(answer, story)
