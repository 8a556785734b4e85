"""Runs with records in PostgreSQL: none is lost or ends twice, also when the database is killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postgres_cluster import Cluster
from run_faults import QUICK_KINDS, Plan, kill_and_judge


def test_no_run_is_lost_and_none_ends_twice_in_a_hundred_kills_on_postgresql(
    postgres_server: Callable[..., Any], postgres: Cluster, keep: Any
) -> None:
    kill_and_judge(postgres_server, keep, Plan(100, (0.05, 0.3), QUICK_KINDS), postgres.crash)
