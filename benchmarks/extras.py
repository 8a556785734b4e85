"""The cases that only Penstock runs: E arrays, F many deployments, G waiting, R replicas.

Each returns figures, one dictionary a line of the report: `what`, `value`, `unit`, and either
`goal` with `met`, or nothing when the figure only explains another. What this version cannot do is
a line with `skipped`.
"""

import json
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

from cases import Request, all_rows, read_answer, rows_request, stored
from load import load
from measure import Options, measured
from ours import NotYet, Penstock
from places import HERE, OUR_PYTHON, WORK, environment
from processes import memory_mb
from validate import same, send

Figure = dict[str, Any]
Say = Callable[[str], None]


def figure(
    what: str, value: float, unit: str, *, most: float | None = None, least: float | None = None
) -> Figure:
    """Return a line of the report, with its goal if there is one."""
    line: Figure = {"what": what, "value": value, "unit": unit}
    if most is not None:
        line |= {"goal": f"< {most:g}", "met": value < most}
    if least is not None:
        line |= {"goal": f"≥ {least:g}", "met": value >= least}
    return line


def run_extra(case: str, options: Options, say: Say) -> list[Figure]:
    """Return the figures of one case; a failure is a line of them."""
    try:
        return _CASES[case](options, say)
    except NotYet as error:
        say(f"{case} skipped: {error}")
        return [{"what": f"case {case}", "skipped": str(error)}]
    except Exception as error:
        say(f"{case} failed: {error}")
        return [{"what": f"case {case}", "failed": f"{type(error).__name__}: {error}"[:300]}]


def _to(system: Penstock, name: str, request: Request, **headers: str) -> Request:
    path = f"/v1/default/{name}/predict"
    return request._replace(path=path, headers={**request.headers, **system.headers, **headers})


# --- E: arrays ---


#: The allocator settings of Penstock's workers, so that the bare call is not slowed by page faults.
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def _bare(options: Options) -> dict[str, float]:
    """Run `bare.py`: the model call and the copies without a server."""
    command = [OUR_PYTHON, str(HERE / "bare.py"), str(options.seconds)]
    env = environment(**_ALLOCATOR)
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True, timeout=120)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def arrays(options: Options, say: Say) -> list[Figure]:
    """1000 rows of 100 float32 as npy, as JSON, and without any server."""
    bare = _bare(options)
    say(f"E bare model call and copy: p50 {bare['p50_ms']:.2f} ms")
    system = Penstock().start()
    try:
        system.deploy("e")
        system.end_client()
        npy = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
        as_npy = _to(system, "bench-e", Request("", npy, (WORK / "e.npy").read_bytes()))
        text = {"Content-Type": "application/json"}
        as_json = _to(system, "bench-e", Request("", text, (WORK / "e.json").read_bytes()))
        _check_arrays(system, as_npy, as_json)
        points = {}
        for name, request in (("npy", as_npy), ("json", as_json)):
            load(system.port, [request], 1, 1)
            for clients in (1, 16):
                point = measured(system, [request], clients, options.seconds)
                points[name, clients] = point
                say(f"E {name} with {clients}: {point['rps']:,.0f}/s, p50 {point['p50_ms']:.2f} ms")
    finally:
        system.stop()
    again = _bare(options)  # the quieter of two moments is what the server is compared with
    bare = min(bare, again, key=lambda run: run["p50_ms"])
    npy_1, json_1, npy_16 = points["npy", 1], points["json", 1], points["npy", 16]
    return [
        figure("E: bare model call and copy, p50", bare["p50_ms"], "ms"),
        figure("E: npy, 1 client, p50", npy_1["p50_ms"], "ms"),
        figure("E: JSON, 1 client, p50", json_1["p50_ms"], "ms"),
        figure("E: npy, 16 clients", npy_16["rps"], "/s"),
        figure("E: JSON over npy, p50", json_1["p50_ms"] / npy_1["p50_ms"], "x", least=5),
        figure("E: npy over bare call, p50", npy_1["p50_ms"] / bare["p50_ms"], "x", most=1.5),
        figure("E: npy at 16 over bare loop, req/s", npy_16["rps"] / bare["rps"], "x"),
        figure("E: errors", sum(point["errors"] for point in points.values()), "", most=1),
    ]


def _check_arrays(system: Penstock, as_npy: Request, as_json: Request) -> None:
    wanted = stored("e_answer.json")
    if not same(read_answer(send(system.port, as_json)), wanted):
        raise RuntimeError("the JSON answer is wrong")
    flat = [value for row in wanted for value in row]
    if not same(_npy_floats(send(system.port, as_npy)), flat):
        raise RuntimeError("the npy answer is wrong")


def _npy_floats(raw: bytes) -> list[float]:
    """Return the numbers of a float32 array in npy form (version 1), flat."""
    begin = 10 + int.from_bytes(raw[8:10], "little")
    if b"'<f4'" not in raw[:begin] or b"'fortran_order': False" not in raw[:begin]:
        raise RuntimeError(f"the npy answer has an unexpected head: {raw[:begin]!r}")
    return list(memoryview(raw)[begin:].cast("f"))


# --- F: many deployments ---

#: Deployments called at random, and the most that exist at once.
CALLED = 64
MOST = 200


def many(options: Options, say: Say) -> list[Figure]:
    """One deployment, then 64 called at random, then one of 200."""
    system = Penstock().start()
    try:
        names = [f"many-{number:03}" for number in range(MOST)]
        rows = all_rows()
        request = rows_request("penstock", "A", rows[:1])
        requests = [_to(system, name, request) for name in names]
        _deploy(system, names[:1], say)
        alone = _points(system, requests[:1], options, say, "F one deployment")
        _deploy(system, names[1:CALLED], say)
        _answer_all(system, requests[:CALLED])
        mixed = _points(system, requests[:CALLED], options, say, "F 64 at random")
        _deploy(system, names[CALLED:], say)
        _answer_all(system, requests)
        crowded = _points(system, requests[:1], options, say, "F one of 200")
        every = _points(system, requests, options, say, "F 200 at random")
        memory = memory_mb(system.pids())
    finally:
        system.stop()
    points = [*alone.values(), *mixed.values(), *crowded.values(), *every.values()]
    return [
        figure("F: one deployment, 64 clients", alone[64]["rps"], "/s"),
        figure("F: 64 deployments at random, 64 clients", mixed[64]["rps"], "/s"),
        figure("F: 64 at random over one", mixed[64]["rps"] / alone[64]["rps"], "x", least=0.8),
        figure("F: one of 200, CPU per call", crowded[64]["cpu_us"], "us"),
        figure("F: the only one, CPU per call", alone[64]["cpu_us"], "us"),
        figure("F: cost of a call, one of 200 over the only one",
               crowded[64]["cpu_us"] / alone[64]["cpu_us"], "x", most=1.15),
        figure("F: 200 deployments at random, 64 clients", every[64]["rps"], "/s"),
        figure("F: memory (PSS) with 200 deployments", memory["pss"], "MB"),
        figure("F: errors", sum(point["errors"] for point in points), "", most=1),
    ]  # fmt: skip


def _deploy(system: Penstock, names: list[str], say: Say) -> None:
    taken = [system.deploy("ab", name)["seconds"] for name in names]
    say(f"F deployed {len(names)}, median {statistics.median(taken) * 1e3:.0f} ms")
    system.end_client()


def _answer_all(system: Penstock, requests: list[Request]) -> None:
    """Wake every deployment and check its answer."""
    wanted = stored("answers.json")["A"]
    for request in requests:
        if not same(read_answer(send(system.port, request)), wanted):
            raise RuntimeError(f"{request.path} answers wrongly")


def _points(
    system: Penstock, requests: list[Request], options: Options, say: Say, what: str
) -> dict[int, dict[str, Any]]:
    load(system.port, requests, 64, max(1, options.warmup_s), pick="random")
    points = {}
    for clients in (1, 64):
        points[clients] = measured(system, requests, clients, options.seconds, pick="random")
        say(f"{what}, {clients} clients: {points[clients]['rps']:,.0f}/s")
    return points


# --- G: functions that wait ---


def waiting(options: Options, say: Say) -> list[Figure]:
    """A `pre` that waits 50 ms, plain and async, with `concurrency=64` and 64 clients."""
    figures = []
    system = Penstock().start()
    try:
        for flow in ("wait", "wait-async"):
            system.deploy(flow)
            request = _to(system, f"bench-{flow}", rows_request("penstock", "D", all_rows()[:1]))
            load(system.port, [request], 64, 1)
            point = measured(system, [request], 64, options.seconds)
            say(f"G {flow}: {point['rps']:,.0f}/s")
            figures.append(figure(f"G: {flow}, 64 clients", point["rps"], "/s", least=900))
            figures.append(figure(f"G: {flow}, errors", point["errors"], "", most=1))
    finally:
        system.stop()
    return figures


# --- R: deploys and replicas ---

_TIMES = 10


def replicas(_options: Options, say: Say) -> list[Figure]:
    """Times of a deploy, of a version's first answer, of a replacement; memory of a replica."""
    system = Penstock(version_idle_s="0.2").start()
    try:
        first = system.deploy("ab")["seconds"]
        taken = [system.deploy("ab")["seconds"] for _ in range(_TIMES)]
        system.end_client()
        say(f"R deploy: first {first:.2f} s, then {statistics.median(taken) * 1e3:.0f} ms")
        woken = _wake_times(system, say)
        replaced = _replace_times(system, say)
    finally:
        system.stop()
    private = _private_mb(say)
    return [
        figure("R: first deploy, libraries not imported yet", first, "s"),
        figure("R: deploy of a next version, median of 10", statistics.median(taken), "s", most=1),
        figure("R: deploy of a next version, slowest of 10", max(taken), "s", most=1),
        *woken,
        *replaced,
        *private,
    ]


def _call_version(system: Penstock, number: int | None) -> Request:
    request = _to(system, "bench-ab", rows_request("penstock", "A", all_rows()[:1]))
    if number is None:
        return request
    return request._replace(path=f"/v1/default/bench-ab/versions/{number}/predict")


def _wake_times(system: Penstock, say: Say) -> list[Figure]:
    """Call old versions, which were stopped when idle, one every second: load and first answer."""
    wanted = stored("answers.json")["A"]
    until = time.monotonic() + 20
    while len(_workers(system)) > 1 and time.monotonic() < until:
        time.sleep(0.1)
    taken = []
    for number in range(1, _TIMES + 1):
        time.sleep(1.0)  # the server forks ahead for the next one
        begun = time.perf_counter()
        try:
            raw = send(system.port, _call_version(system, number))
        except OSError as error:
            return [{"what": "R: wake", "skipped": f"an idle version does not wake: {error}"[:200]}]
        taken.append((time.perf_counter() - begun) * 1e3)
        if not same(read_answer(raw), wanted):
            raise RuntimeError("a woken version answers wrongly")
    say(f"R wake: median {statistics.median(taken):.0f} ms, slowest {max(taken):.0f} ms")
    return [
        figure("R: wake of an idle version to its first answer, median of 10",
               statistics.median(taken), "ms", most=100),
        figure("R: wake, slowest of 10", max(taken), "ms", most=150),
    ]  # fmt: skip


def _replace_times(system: Penstock, say: Say) -> list[Figure]:
    """Kill the active version's replica and time the next good answer."""
    taken = []
    for _ in range(_TIMES):
        active = _call_version(system, None)
        until = time.monotonic() + 20
        while len(_workers(system)) != 1 and time.monotonic() < until:
            time.sleep(0.05)
        send(system.port, active)
        os.kill(_workers(system)[0], signal.SIGKILL)
        begun = time.perf_counter()
        while time.perf_counter() < begun + 10:
            try:
                send(system.port, active)
                break
            except OSError:
                time.sleep(0.001)
        taken.append((time.perf_counter() - begun) * 1e3)
    say(f"R replaced after kill -9: median {statistics.median(taken):.0f} ms")
    return [
        figure("R: from kill -9 to the next good answer, median of 10",
               statistics.median(taken), "ms", most=1000),
    ]  # fmt: skip


def _workers(system: Penstock) -> list[int]:
    """Return the processes that answer calls: not the zygote, no template, no zombie."""
    workers = []
    for pid in system.pids():
        try:
            with open(f"/proc/{pid}/stat") as stat:
                name, state = stat.read().rsplit(")", 1)
        except OSError:
            continue
        if name.endswith("(penstock-worker") and state.split()[0] != "Z":
            workers.append(pid)
    return workers


#: Replicas whose private memory is read, and calls each has answered by then, about.
_REPLICAS = 4


def _private_mb(say: Say) -> list[Figure]:
    system = Penstock().start()
    try:
        system.deploy("ab", replicas=_REPLICAS)
        system.end_client()
        load(system.port, system.requests("A"), 16, 2)
        workers = _workers(system)
        each = [memory_mb([pid])["uss"] for pid in workers]
        whole = memory_mb(system.pids())
    finally:
        system.stop()
    say(f"R private memory of {len(each)} replicas: " + ", ".join(f"{mb:.1f}" for mb in each))
    return [
        figure("R: private memory of a replica of A, most of 4", max(each), "MB", most=30),
        figure("R: memory (PSS) of server, zygote and 4 replicas", whole["pss"], "MB"),
    ]


_CASES: dict[str, Callable[[Options, Say], list[Figure]]] = {
    "E": arrays,
    "F": many,
    "G": waiting,
    "R": replicas,
}

#: The cases, as `--cases` names them.
EXTRAS = "".join(_CASES)
