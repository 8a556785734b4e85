"""What deployments cost while they sleep: memory and CPU of the server, and each one's wake.

python benchmarks/sleeping.py [how many, 200 by default]
"""

import statistics
import sys
import time

import machine
from cases import Request, all_rows, read_answer, rows_request, stored
from models import ensure_models
from ours import Penstock
from processes import cpu_seconds, memory_mb
from scaling import shown
from validate import same, send

#: Seconds that the sleeping server's CPU time is counted for.
QUIET_S = 10.0

#: Deployments between two looks at the memory.
STEP = 50


def request_to(system: Penstock, name: str) -> Request:
    """Return a one-row call to a deployment of the torch→xgboost flow."""
    request = rows_request("penstock", "A", all_rows()[:1])
    headers = {**request.headers, **system.headers}
    return request._replace(path=f"/v1/default/{name}/predict", headers=headers)


def wait_until_asleep(system: Penstock, name: str) -> None:
    """Return when a deployment has no process."""
    until = time.monotonic() + 30
    while shown(system, name)["state"] != "cold":
        if time.monotonic() > until:
            raise RuntimeError(f"{name} does not fall asleep")
        time.sleep(0.05)


def footprint(system: Penstock, count: int) -> None:
    """Print memory and processes with `count` sleeping deployments."""
    pids = system.pids()
    memory = memory_mb(pids)
    server = memory_mb([system.process.pid])["pss"] if system.process is not None else 0.0
    print(
        f"{count:4} asleep: {len(pids)} processes, {memory['pss']:.0f} MB (PSS) in all, "
        f"server {server:.1f} MB",
        flush=True,
    )


def main() -> int:
    """Print the figures; the status is 1 if one of the answers was wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    ensure_models()
    print(*machine.lines(machine.describe()), sep="\n")
    system = Penstock().start()
    try:
        names = [f"sleep-{number:03}" for number in range(count)]
        for number, name in enumerate(names, 1):
            system.deploy("ab", name, min_replicas=0, cooldown=0.2)
            wait_until_asleep(system, name)
            if number == 1 or not number % STEP:
                footprint(system, number)
        system.end_client()
        begun, before = time.monotonic(), cpu_seconds(system.pids())
        time.sleep(QUIET_S)
        used = (cpu_seconds(system.pids()) - before) / (time.monotonic() - begun)
        print(f"CPU while all sleep: {1e2 * used:.2f} % of a core")
        return 0 if wake_each(system, names) else 1
    finally:
        system.stop()


def wake_each(system: Penstock, names: list[str]) -> bool:
    """Call every deployment once; print how long that took, return whether all were right."""
    wanted, taken, right = stored("answers.json")["A"], [], True
    for name in names:
        begun = time.perf_counter()
        raw = send(system.port, request_to(system, name))
        taken.append(1e3 * (time.perf_counter() - begun))
        right = right and same(read_answer(raw), wanted)
    taken.sort()
    print(
        f"first answers of {len(names)}: median {statistics.median(taken):.0f} ms, "
        f"95 % {taken[int(0.95 * len(taken))]:.0f} ms, slowest {taken[-1]:.0f} ms, "
        f"{'all right' if right else 'some WRONG'}"
    )
    for name in names:
        wait_until_asleep(system, name)
    footprint(system, len(names))
    return right


if __name__ == "__main__":
    sys.exit(main())
