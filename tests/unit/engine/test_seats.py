"""The seats of a worker that holds several calls, and how much it is handed."""

from __future__ import annotations

import os

import pytest

from penstock.codec.frames import INLINE_LIMIT
from penstock.engine.base import VersionKey, VersionSpec
from penstock.engine.local import begun, seats
from penstock.engine.local.begun import BegunPage, Place
from penstock.engine.local.window import bytes_ahead, calls_ahead


@pytest.fixture
def fd():
    fd = begun.create()
    yield fd
    os.close(fd)


def test_each_call_inside_has_a_place_of_its_own(fd):
    page = BegunPage(fd)
    held = page.seats(4)
    held.write(0, 7, 1, 1)
    held.write(3, 9, 2, 3)
    page.begin(9)
    place = begun.read(fd)
    assert place.of(7) == Place(9, 1, "pre")
    assert place.of(9) == Place(9, 2, "post")
    assert place.of(8) == Place(9, 0, "")


def test_a_seat_that_was_left_tells_nothing(fd):
    held = BegunPage(fd).seats(2)
    held.write(1, 7, 1, 1)
    held.write(1, 0, 0, 0)
    assert seats.read(fd) == {}


def test_a_worker_without_seats_has_one_place_for_all_its_calls(fd):
    page = BegunPage(fd)
    page.begin(3)
    page.at(1, 2)
    assert begun.read(fd).of(2) == Place(3, 1, "model")


def test_there_is_room_for_the_most_seats(fd):
    held = BegunPage(fd).seats(seats.MOST_SEATS)
    held.write(seats.MOST_SEATS - 1, 5, 1, 2)
    assert seats.read(fd) == {5: (1, 2)}
    assert BegunPage(fd).last_begun == 0


def test_a_worker_that_writes_nonsense_is_read_all_the_same(fd):
    os.pwrite(fd, b"\xff" * seats.PAGE_BYTES, 0)
    assert begun.read(fd).of((1 << 64) - 1).part == ""


def spec(**fields):
    return VersionSpec(VersionKey("lab", "flow", 1), b"", {}, **fields)


@pytest.mark.parametrize("concurrency", [2, 64, 1024])
def test_a_replica_is_handed_more_calls_than_it_holds_but_not_many_more(concurrency):
    ahead = calls_ahead(spec(concurrency=concurrency))
    assert concurrency + 8 <= ahead <= max(1.5 * concurrency, concurrency + 8)
    assert bytes_ahead(spec(concurrency=concurrency)) >= concurrency * INLINE_LIMIT


def test_a_replica_that_takes_one_batch_at_a_time_is_handed_the_next_one_or_two():
    assert calls_ahead(spec(max_batch=1)) == 8
    assert calls_ahead(spec(max_batch=32)) == 64
    assert calls_ahead(spec(max_batch=65536)) == 256
