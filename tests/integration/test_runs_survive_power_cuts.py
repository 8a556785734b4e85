"""A cut of the power: of the files only what was synced is left, and no accepted run is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disks import LosingDisk
from ports import free_port
from run_faults import RATE, Ledger, assert_clean, progress, put

Start = Callable[..., Any]


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
