"""What is written at the end of a turn of the loop."""

import asyncio

import pytest

from penstock.server.gateway.writes import Writes


class Transport(asyncio.Transport):
    def __init__(self, closing=False, error=None):
        super().__init__()
        self.written = []
        self.closing, self.error = closing, error

    def is_closing(self):
        return self.closing

    def write(self, data):
        if self.error is not None:
            raise self.error
        self.written.append(data)


def test_what_comes_in_one_turn_is_written_in_order_at_its_end():
    turn = []
    writes, transport = Writes(turn.append), Transport()
    writes.add(transport, b"head")
    writes.add(transport, b"body")
    assert transport.written == []
    assert len(turn) == 1
    turn.pop()()
    assert transport.written == [b"head", b"body"]


def test_the_loop_itself_writes_before_it_looks_for_more():
    async def turn():
        transport = Transport()
        Writes().add(transport, b"answer")
        await asyncio.sleep(0)
        return transport.written

    assert asyncio.run(turn()) == [b"answer"]


def test_what_a_connection_that_is_gone_was_to_get_is_dropped():
    turn = []
    writes, gone, here = Writes(turn.append), Transport(closing=True), Transport()
    writes.add(gone, b"1")
    writes.add(here, b"2")
    turn.pop()()
    assert (gone.written, here.written) == ([], [b"2"])


def test_a_connection_that_cannot_be_written_to_costs_the_others_nothing():
    turn = []
    writes, broken, here = Writes(turn.append), Transport(error=RuntimeError("gone")), Transport()
    writes.add(broken, b"1")
    writes.add(here, b"2")
    with pytest.raises(RuntimeError, match="gone"):
        turn.pop()()
    turn.pop()()
    assert here.written == [b"2"]


def test_what_was_written_early_is_not_written_again():
    turn = []
    writes, transport = Writes(turn.append), Transport()
    writes.add(transport, b"1")
    writes.write()
    turn.pop()()
    writes.add(transport, b"2")
    turn.pop()()
    assert transport.written == [b"1", b"2"]
