"""A run that was answered 202 is never lost and ends once, whatever is killed. A ledger judges.

What the ledger itself is worth is in `test_broken_builds_are_found_out.py`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from ports import free_port
from postgres_cluster import Cluster
from run_faults import (
    QUICK_KINDS,
    RATE,
    Killer,
    Ledger,
    Plan,
    assert_clean,
    kill_and_judge,
    progress,
    put,
)

Start = Callable[..., Any]


def test_no_run_is_lost_and_none_ends_twice_in_a_hundred_kills(
    start_server: Start, keep: Any
) -> None:
    kill_and_judge(start_server, keep, Plan(100, (0.05, 0.3), QUICK_KINDS))


#: `make soak`: how many kills, and minutes after which there are no more, however many they were.
SOAK_KILLS = int(os.environ.get("SOAK_KILLS", "1000"))
SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "inf"))


def kill_often(start: Start, keep: Any, crash: Any = None) -> None:
    plan = Plan(SOAK_KILLS, (0.5, 3.0), most_s=60.0 * SOAK_MINUTES)
    kill_and_judge(start, keep, plan, crash, progress)


@pytest.mark.soak
def test_no_run_is_lost_and_none_ends_twice_in_a_thousand_kills(
    start_server: Start, keep: Any
) -> None:
    kill_often(start_server, keep)


@pytest.mark.soak
def test_no_run_is_lost_and_none_ends_twice_in_a_thousand_kills_on_postgresql(
    postgres_server: Start, postgres: Cluster, keep: Any
) -> None:
    kill_often(postgres_server, keep, postgres.crash)


POINTS = (
    "run.adding",
    "run.accepting",
    "run.accepted",
    "run.claiming",
    "run.claimed",
    "run.handed",
    "run.answered",
    "run.finishing",
    "run.finished",
)


def test_a_kill_at_each_interesting_line_loses_nothing(start_server: Start, keep: Any) -> None:
    port = free_port()
    live = start_server(port=port)
    put(live)
    killer = Killer(start_server, live, port, 0)
    ledger = keep(Ledger(live, RATE, 24 * 3600))
    for point in POINTS:
        killer.restart({"PENSTOCK_FAULTS": f"{point}=kill:5"})
        assert killer.live.wait() == -signal.SIGKILL, point
    killer.restart()
    verdict = ledger.finish()
    assert verdict["accepted"] > 5 * len(POINTS)
    assert_clean(verdict)
