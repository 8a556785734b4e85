"""The ledger is worth something: builds that lose or change runs turn it red.

Deliberately broken builds, on either database: one that does not wait for the commit, one whose
commits are not on the disk, one that does not check the attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from postgres_cluster import Cluster
from run_faults import RATE, Killer, Ledger, put

Start = Callable[..., Any]


def test_a_server_that_does_not_wait_for_the_commit_is_found_out(
    start_either: Start, keep: Any
) -> None:
    port = free_port()
    live = start_either(port=port)
    put(live)
    killer = Killer(start_either, live, port, 0)
    killer.restart({"PENSTOCK_FAULTS": "run.commit-wait=skip,run.adding=sleep:0.2"})
    ledger = keep(Ledger(killer.live, RATE, 2.0, patience_s=20.0))
    killer.pause(1.5, 1.5)
    killer.restart()
    verdict = ledger.verdict()
    assert verdict["lost"], verdict


@pytest.fixture
def idle_log(postgres: Cluster) -> Iterator[Cluster]:
    """A PostgreSQL that writes its log to the disk when a commit asks for it, else much later."""
    postgres.execute(
        "postgres", "ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()"
    )
    yield postgres
    postgres.execute("postgres", "ALTER SYSTEM RESET wal_writer_delay", "SELECT pg_reload_conf()")


def test_commits_that_are_not_on_the_disk_are_found_out(
    postgres_server: Start, idle_log: Cluster, keep: Any, tmp_path: Path
) -> None:
    lost: dict[str, list[Any]] = {"sound": [], "broken": []}
    # Whoever else waits for a commit in this instant takes the others' to the disk with its own.
    builds = [("sound", ""), *[("broken", "records.sync=skip")] * 4]
    for number, (build, skips) in enumerate(builds):
        if lost["broken"]:
            break
        port = free_port()
        live = postgres_server(tmp_path / f"{build}-{number}", port=port)
        put(live)
        killer = Killer(postgres_server, live, port, 0)
        killer.restart({"PENSTOCK_FAULTS": skips})
        ledger = keep(Ledger(killer.live, RATE, 2.0, patience_s=20.0))
        killer.pause(1.5, 1.5)
        idle_log.crash()
        verdict = ledger.verdict()
        assert verdict["accepted"] > 0
        lost[build] += [*verdict["lost"], *verdict["changed"]]
        killer.live.kill()
    assert lost["sound"] == []
    assert lost["broken"], "the ledger does not notice commits that were lost"


def test_a_server_that_does_not_check_the_attempt_is_found_out(
    start_either: Start, keep: Any, tmp_path: Path
) -> None:
    verdicts = {}
    for build, skips in (("sound", ""), ("broken", ",run.attempt-check=skip")):
        # Nobody renews the leases, so a slow run is taken back and runs again beside itself.
        environment = {
            "PENSTOCK_FAULTS": "run.heartbeat=skip" + skips,
            "PENSTOCK_RUN_LEASE_S": "0.6",
            "PENSTOCK_RUN_ATTEMPTS": "2",
        }
        live = start_either(tmp_path / build, environment)

        def pre(data: Any) -> Any:
            import time

            time.sleep(1.5)
            return data

        put(live, pre=pre)
        ledger = keep(Ledger(live, 2.0, 2.0, patience_s=30.0))
        verdicts[build] = ledger.verdict()
        live.kill()
    assert verdicts["sound"]["ended"] == verdicts["sound"]["accepted"] > 0
    assert verdicts["sound"]["changed"] == verdicts["sound"]["lost"] == []
    assert verdicts["broken"]["changed"], verdicts
