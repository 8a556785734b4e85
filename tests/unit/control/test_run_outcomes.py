"""What a worker's answer means for a run, whatever the worker says."""

from __future__ import annotations

import msgspec
import pytest

from penstock.control.run_outcomes import MOST_POINTS, count_ids


@pytest.mark.parametrize("ids", [[], ["r-0"], ["r-0", "r-1", "r-2"]])
def test_the_data_points_of_an_answer_are_counted(ids: list[str]) -> None:
    assert count_ids(msgspec.Raw(msgspec.json.encode(ids))) == len(ids)


@pytest.mark.parametrize("ids", [b"null", b"5", b'"a,b"', b"{}"])
def test_what_is_no_list_of_ids_counts_as_none(ids: bytes) -> None:
    assert count_ids(msgspec.Raw(ids)) == 0


def test_ids_are_counted_without_being_made() -> None:
    # Two million lists would take seconds, in the process that serves everybody.
    assert count_ids(msgspec.Raw(b"[" + b"[]," * 2_000_000 + b"[]]")) == MOST_POINTS
