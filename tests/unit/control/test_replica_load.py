"""What replicas did in the last seconds, from two looks at what is counted anyway."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest

from penstock.control.replica_load import Load, ReplicaLoads
from penstock.control.status import ReplicaView
from penstock.engine.local.cpu_use import cpu_s


class _Machine:
    """Replicas whose calls and processor time are what a test says."""

    def __init__(self) -> None:
        self.at = 100.0
        self.used: dict[int, float] = {}
        self.loads = ReplicaLoads(self.used.get, lambda: self.at)

    def look(self, **calls: int) -> dict[int, Load]:
        views = [
            ReplicaView(int(pid[1:]), "ready", 5.0, count, 0, 0) for pid, count in calls.items()
        ]
        return asyncio.run(self.loads.look(views))

    def pass_s(self, seconds: float, **used: float) -> None:
        self.at += seconds
        for pid, more in used.items():
            number = int(pid[1:])
            self.used[number] = self.used.get(number, 0.0) + more


def test_the_first_look_says_nothing_and_the_next_what_was_between() -> None:
    machine = _Machine()
    machine.pass_s(0, p7=3.0, p8=1.0)
    assert machine.look(p7=1000, p8=0) == {}
    machine.pass_s(2, p7=0.5, p8=0.0)
    assert machine.look(p7=1100, p8=0) == {7: Load(50.0, 0.25), 8: Load(0.0, 0.0)}


def test_figures_are_of_the_last_ten_seconds_however_often_people_look() -> None:
    machine = _Machine()
    machine.pass_s(0, p7=0.0)
    machine.look(p7=0)
    for second in range(1, 31):  # a busy time, then a quiet one
        machine.pass_s(1, p7=1.0 if second <= 15 else 0.0)
        found = machine.look(p7=100 * min(second, 15))
    assert found == {7: Load(0.0, 0.0)}
    machine.pass_s(3600, p7=0.0)
    assert machine.look(p7=9000) == {}  # of an hour nobody looked at, the last seconds say nothing


def test_two_people_who_look_in_the_same_second_see_the_same() -> None:
    machine = _Machine()
    machine.pass_s(0, p7=0.0)
    machine.look(p7=0)
    machine.pass_s(4, p7=2.0)
    first = machine.look(p7=40)
    machine.pass_s(0.001)
    assert machine.look(p7=40)[7].calls_per_s == pytest.approx(first[7].calls_per_s, rel=0.01)


def test_a_process_that_got_the_number_of_an_older_one_begins_anew() -> None:
    machine = _Machine()
    machine.pass_s(0, p7=50.0)
    machine.look(p7=5000)
    machine.pass_s(2)
    later = ReplicaView(7, "ready", 101.0, 1, 0, 0)
    assert asyncio.run(machine.loads.look([later])) == {}


def test_calls_are_told_where_the_system_does_not_tell_processor_time() -> None:
    machine = _Machine()
    machine.look(p7=0)
    machine.pass_s(2)
    assert machine.look(p7=10) == {7: Load(5.0, None)}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_processor_time_counts_what_a_process_started_and_what_of_that_ended() -> None:
    spin = "import time\nwhile time.process_time() < {}: pass\n"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin.format(0.3)!r}])"
    program = f"{inner}\n{spin.format(0.2)}print(flush=True); input()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert (cpu_s(child.pid) or 0.0) >= 0.45
        child.communicate(b"\n")
    assert cpu_s(child.pid) is None
    before = cpu_s(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert before is not None
    assert (cpu_s(os.getpid()) or 0.0) >= before + 0.05
