"""Every request of a worker gets its own answer, whatever became of the one before."""

from __future__ import annotations

import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from penstock.codec.frames import split_frames
from penstock.codec.memory import (
    MOST_VALUE_BYTES,
    REQUEST_LIMIT,
    Done,
    Publish,
    Read,
    Upload,
    Value,
    WorkerRequest,
    Write,
)
from penstock.codec.worker_messages import pack_message, unpack_message
from penstock.core.errors import MemoryQuotaExceeded
from penstock.engine.local.conversation import Conversation

LIMIT_S = 60.0


class Interrupted(Exception):
    """What the handlers of signals raise here."""


class Server:
    """The server's end; a value is its name."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.asked: list[str] = []
        self._buffer = bytearray()
        self._frames: list[memoryview] = []

    def request(self) -> WorkerRequest | None:
        while not self._frames:
            data = self.sock.recv(1 << 20)
            if not data:
                return None
            self._buffer += data
            self._frames = split_frames(self._buffer, REQUEST_LIMIT)
        request: WorkerRequest = unpack_message(self._frames.pop(0), WorkerRequest)
        self.asked.append(type(request).__name__)
        return request

    def answer(self, request: WorkerRequest) -> None:
        said = Value(1, request.name.encode()) if isinstance(request, Read) else Done(1)
        self.sock.sendall(pack_message(said))

    def answer_all(self) -> None:
        while (request := self.request()) is not None:
            self.answer(request)


@contextmanager
def talking(script: Callable[[Server], None]) -> Iterator[tuple[Conversation, Server]]:
    """A conversation whose other end does as `script` says, in a thread."""
    ours, theirs = socket.socketpair()
    server = Server(ours)
    thread = threading.Thread(target=script, args=(server,))
    conversation = Conversation(theirs.detach())
    thread.start()
    try:
        yield conversation, server
    finally:
        conversation._sock.close()
        thread.join(LIMIT_S)
        ours.close()


@pytest.fixture
def raising() -> Iterator[None]:
    """Have signals raise in the main thread, as user code may."""

    def fail(*_: object) -> None:
        raise Interrupted

    before = {kind: signal.signal(kind, fail) for kind in (signal.SIGUSR1, signal.SIGALRM)}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


def interrupt() -> None:
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGUSR1)


def value_of(conversation: Conversation, name: str) -> str:
    answer = conversation.ask(Read("deployment", name))
    assert isinstance(answer, Value)
    assert answer.value is not None
    return answer.value.decode()


@pytest.mark.parametrize("size", [20 << 20, MOST_VALUE_BYTES])
def test_the_largest_value_that_may_be_saved_is_read_and_so_is_the_next_one(size: int) -> None:
    def script(server: Server) -> None:
        server.request()
        server.sock.sendall(pack_message(Value(1, b"x" * size)))
        server.answer_all()

    with talking(script) as (conversation, _):
        large = conversation.ask(Read("deployment", "large"))
        assert isinstance(large, Value)
        assert len(large.value or b"") == size
        assert value_of(conversation, "next") == "next"


def test_an_answer_whose_asker_was_interrupted_is_nobody_elses(raising: None) -> None:
    may_answer = threading.Event()

    def script(server: Server) -> None:
        first = server.request()
        interrupt()
        assert may_answer.wait(LIMIT_S)
        assert first is not None
        server.answer(first)
        server.answer_all()

    with talking(script) as (conversation, _):
        with pytest.raises(Interrupted):
            conversation.ask(Read("deployment", "a"))
        may_answer.set()
        assert [value_of(conversation, name) for name in "bcd"] == ["b", "c", "d"]


def test_a_request_that_was_cut_while_it_was_sent_is_sent_to_its_end(raising: None) -> None:
    may_read = threading.Event()

    def script(server: Server) -> None:
        server.sock.recv(1, socket.MSG_PEEK)
        interrupt()
        assert may_read.wait(LIMIT_S)
        server.answer_all()

    with talking(script) as (conversation, server):
        with pytest.raises(Interrupted):
            conversation.ask(Publish([Write("deployment", "a", b"x" * (8 << 20))]))
        may_read.set()
        assert value_of(conversation, "b") == "b"
        assert server.asked == ["Publish", "Read"]


def test_wherever_an_ask_is_interrupted_later_ones_get_their_own_answers(raising: None) -> None:
    chance = random.Random(7)
    cut = 0
    with talking(Server.answer_all) as (conversation, _):
        for number in range(3000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * chance.randrange(1, 300))
                if number % 3:
                    conversation.ask(Publish([Write("deployment", "a", b"x" * 400_000)]))
                answer = value_of(conversation, str(number))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                cut += 1
            else:
                assert answer == str(number)
        assert value_of(conversation, "last") == "last"
    print(f"\n{cut} of 3000 were interrupted")


def test_a_request_that_could_not_be_sent_at_all_is_not_sent_later() -> None:
    with talking(Server.answer_all) as (conversation, server):
        with pytest.raises(OSError, match="file descriptor"):
            conversation.ask(Upload("a", None, 1 << 20))
        assert value_of(conversation, "b") == "b"
        assert server.asked == ["Read"]


def test_a_request_that_is_larger_than_the_server_takes_is_refused_before_it_is_sent() -> None:
    with talking(Server.answer_all) as (conversation, server):
        with pytest.raises(MemoryQuotaExceeded, match=f"it takes {REQUEST_LIMIT}"):
            conversation.ask(Read("deployment", "n" * (REQUEST_LIMIT + 1)))
        assert value_of(conversation, "b") == "b"
        assert server.asked == ["Read"]
