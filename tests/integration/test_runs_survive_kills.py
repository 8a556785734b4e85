"""A run that was answered 202 is never lost and ends once, whatever is killed. A ledger judges."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import LosingDisk
from ports import free_port
from postgres_cluster import Cluster
from run_faults import Killer, Ledger, put

Start = Callable[..., Any]
RATE = 50.0


@pytest.fixture
def keep() -> Iterator[Callable[[Ledger], Ledger]]:
    """End ledgers that a failing test leaves behind."""
    kept: list[Ledger] = []

    def remember(ledger: Ledger) -> Ledger:
        kept.append(ledger)
        return ledger

    yield remember
    for ledger in kept:
        ledger.end()


def assert_clean(verdict: dict[str, Any]) -> None:
    assert verdict["ended"] == verdict["accepted"], verdict
    for fault in ("lost", "changed", "wrong", "twice"):
        assert verdict[fault] == [], verdict
    # A run may have been inside a worker each time it was killed; then it has failed, once.
    assert set(verdict["errors"]) <= {"worker_died"}, verdict


def kill_and_judge(
    start_server: Start,
    keep: Callable[[Ledger], Ledger],
    kills: int,
    shortest_s: float,
    longest_s: float,
    say: Callable[[str], None] = lambda _: None,
    crash_database: Callable[[], None] | None = None,
    most_s: float = math.inf,
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    port = free_port()
    live = start_server(port=port)
    put(live)
    killer = Killer(start_server, live, port, seed, crash_database)
    ledger = keep(Ledger(live, RATE, 24 * 3600))
    begun = time.monotonic()
    for number in range(kills):
        if time.monotonic() - begun > most_s:
            break
        killer.pause(shortest_s, longest_s)
        killer.kill_one()
        say(f"{number + 1} of {kills} kills in {time.monotonic() - begun:.0f} s: {killer.kills}")
    verdict = ledger.finish()
    say(f"{verdict}")
    print({**verdict, "kills": killer.kills})
    assert verdict["accepted"] > sum(killer.kills.values())
    assert_clean(verdict)


def test_no_run_is_lost_and_none_ends_twice_in_twenty_kills(start_server: Start, keep: Any) -> None:
    kill_and_judge(start_server, keep, 20, 0.2, 0.9)


@pytest.fixture
def postgres_server(start_server: Start, postgres: Cluster) -> Start:
    """Like `start_server`, with a database in PostgreSQL for each data folder."""
    urls: defaultdict[Path | None, str] = defaultdict(lambda: postgres.url(postgres.new_database()))

    def start(
        data: Path | None = None, environment: dict[str, str] | None = None, **options: Any
    ) -> Any:
        asked = {"PENSTOCK_DATABASE": urls[data], **(environment or {})}
        live = start_server(data, asked, **options)
        urls[live.data] = urls[data]
        return live

    return start


@pytest.fixture(params=["start_server", "postgres_server"], ids=["sqlite", "postgresql"])
def start_either(request: pytest.FixtureRequest) -> Start:
    """Start servers whose records are in either database."""
    start: Start = request.getfixturevalue(request.param)
    return start


def test_no_run_is_lost_and_none_ends_twice_on_postgresql_when_it_is_killed_too(
    postgres_server: Start, postgres: Cluster, keep: Any
) -> None:
    kill_and_judge(postgres_server, keep, 12, 0.2, 0.9, crash_database=postgres.crash)


def progress(text: str) -> None:
    print(f"\r{text}", end="", flush=True)


SOAK_KILLS = int(os.environ.get("SOAK_KILLS", "1000"))

#: Minutes after which no more is killed, however many it were.
SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "inf"))


def kill_often(start: Start, keep: Any, crash: Any = None) -> None:
    kill_and_judge(start, keep, SOAK_KILLS, 0.5, 3.0, progress, crash, 60.0 * SOAK_MINUTES)


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
    lost = {}
    for build, skips in (("sound", ""), ("broken", "records.sync=skip")):
        port = free_port()
        live = postgres_server(tmp_path / build, port=port)
        put(live)
        killer = Killer(postgres_server, live, port, 0)
        killer.restart({"PENSTOCK_FAULTS": skips})
        ledger = keep(Ledger(killer.live, RATE, 2.0, patience_s=20.0))
        killer.pause(1.5, 1.5)
        idle_log.crash()
        verdict = ledger.verdict()
        assert verdict["accepted"] > 0
        lost[build] = [*verdict["lost"], *verdict["changed"]]
        killer.live.kill()
    assert lost["sound"] == []
    assert lost["broken"], "the ledger does not notice commits that were lost"


def cut_the_power(
    start_server: Start,
    keep: Callable[[Ledger], Ledger],
    folder: Path,
    cuts: int,
    build: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Cut the power of a server under submits, so often; return the ledger's verdict."""
    data = folder / "data"
    disk = LosingDisk(folder, data)
    port = free_port()
    live = start_server(data, disk.environment, port=port)
    put(live)
    keys = live.keys
    assert live.stop() == 0
    disk.cut()
    under_test = {**disk.environment, "PENSTOCK_FAULTS": build}
    dice = random.Random(1)

    def start(environment: dict[str, str]) -> Any:
        again = start_server(data, environment, port=port)
        again.keys = keys
        return again

    live = start(under_test)
    ledger = keep(Ledger(live, RATE, 24 * 3600, patience_s=60.0))
    for number in range(cuts):
        time.sleep(dice.uniform(0.5, 2.0))
        live.kill()
        disk.cut()
        live = start(under_test if number + 1 < cuts else disk.environment)
        say(f"{number + 1} of {cuts} cuts")
    verdict = ledger.finish()
    say(f"{verdict}")
    return verdict


def test_no_accepted_run_is_lost_when_the_power_is_cut(
    start_server: Start, keep: Any, tmp_path: Path
) -> None:
    verdict = cut_the_power(start_server, keep, tmp_path, 3)
    assert verdict["accepted"] > 50
    assert_clean(verdict)


@pytest.mark.soak
def test_no_accepted_run_is_lost_when_the_power_is_cut_a_hundred_times(
    start_server: Start, keep: Any, tmp_path: Path
) -> None:
    assert_clean(cut_the_power(start_server, keep, tmp_path, 100, say=progress))


def test_a_server_that_does_not_sync_its_commits_is_found_out(
    start_server: Start, keep: Any, tmp_path: Path
) -> None:
    verdict = cut_the_power(start_server, keep, tmp_path, 1, "records.sync=skip")
    assert verdict["lost"] or verdict["changed"], verdict


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
