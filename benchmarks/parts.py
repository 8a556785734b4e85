"""Each part of a request's way alone, in this process, in a tight loop: microseconds per request.

Used by `where.py`, and run with Penstock's interpreter. The parts are Penstock's own: it calls what
the gateway, the channel and the worker call, with sockets replaced by buffers. What the loop and
the kernel cost is not in here; `where.py` takes it from a server that does nothing else.
"""

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "servers"))

AT_ONCE = (1, 16, 64)

#: Each loop lasts about this long, in seconds.
LOOP_S = 0.25

_RUN_ID = b"12345678-1234-4234-8234-123456789abc"
_FAR = 1 << 62

Times = dict[str, dict[int, float]]


def spent(function: Callable[[], Any], count: int) -> float:
    """Return the median microseconds of CPU of `function`, divided by `count`.

    CPU time of this thread, so that waiting for a core does not count.
    """
    repeat = max(1, 32 // count)
    taken = []
    until = time.perf_counter() + LOOP_S
    while time.perf_counter() < until or len(taken) < 20:
        begun = time.thread_time_ns()
        for _ in range(repeat):
            function()
        taken.append(time.thread_time_ns() - begun)
    return sorted(taken)[len(taken) // 2] / 1e3 / count / repeat


def parts_of(cases: str) -> Times:
    """Return the parts of each case by number of requests taken at once."""
    times: Times = {}
    times |= _gateway_parts()
    times |= _frame_parts()
    for case in cases:
        if case in "AD":
            times |= _worker_parts(case)
    if "A" in cases:
        times |= _floor_parts()
    return times


def _bodies(count: int) -> list[bytes]:
    from cases import all_rows

    rows = all_rows()
    return [json.dumps([rows[i % len(rows)]]).encode() for i in range(count)]


# --- server process ---


class _Transport:
    """Takes what the gateway writes."""

    def write(self, data: bytes) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 40000) if name == "peername" else None


class _Pool:
    """Keeps the calls; `answer` gives each the same answer."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.calls: list[Any] = []

    def submit(self, call: Any) -> None:
        self.calls.append(call)


async def _no_app(_scope: Any, _receive: Any, _send: Any) -> None:
    raise RuntimeError("only predict calls are made here")


def _gateway_parts() -> Times:
    from cases import Request
    from load import raw_request

    from penstock.control.predict import Predictor
    from penstock.core.records import KeyRecord, Scope
    from penstock.engine.base import Answer, VersionKey
    from penstock.server.gateway.listen import Gateway
    from penstock.server.gateway.protocol import GatewayProtocol
    from penstock.server.gateway.writes import Writes

    record = KeyRecord("id", b"", "pk_d", Scope.DEPLOY, "default", "", 0.0)
    pool = _Pool(VersionKey("default", "bench-ab", 1))
    predictor = Predictor(lambda _value: record)
    predictor.set_route("default", "bench-ab", None, pool, 180.0)
    gateway, turn = Gateway(predictor, _no_app), list[Any]()
    gateway.writes = Writes(turn.append)
    connection = GatewayProtocol(gateway)
    connection.connection_made(_Transport())
    headers = {"Content-Type": "application/json", "Authorization": "pk_d_" + "0" * 40}
    path = "/v1/default/bench-ab/predict"
    raw = b"".join(raw_request(8700, Request(path, headers, _bodies(1)[0]))[1:])
    timing = b"queue;dur=0.374, decode;dur=0.003, s1-pre;dur=0.015, s1-model;dur=0.091, " * 2
    answer = Answer("", 0, timing[:130], b'{"result":[{"label":1,"p":0.98}],"run_id":"' + b"0" * 90)

    def both() -> None:
        connection.data_received(raw)
        call = pool.calls.pop()
        call.on_done(call, answer)
        turn.pop()()

    def only_in() -> None:
        connection.data_received(raw)
        connection._queue.clear()
        pool.calls.clear()

    whole, first = spent(both, 1), spent(only_in, 1)
    return {
        "gateway: request read, call made": {1: first},
        "gateway: answer written": {1: max(0.0, whole - first)},
    }


def _frame_parts() -> Times:
    from penstock.codec.frames import call_header, read_calls, read_replies, reply_header

    calls: dict[int, float] = {}
    replies: dict[int, float] = {}
    taken: dict[int, float] = {}
    sent: dict[int, float] = {}
    body = _bodies(1)[0]
    timing, answer = b"queue;dur=0.374" * 8, b"x" * 140

    def join_calls(count: int) -> bytes:
        parts: list[bytes] = []
        for number in range(count):
            head = call_header(number, _RUN_ID, 0, 0, _FAR, b"application/json", len(body))
            parts += (head, body)
        return b"".join(parts)

    def join_replies(count: int) -> bytes:
        parts: list[bytes] = []
        for number in range(count):
            parts += (reply_header(number, 0, 0, b"", timing, len(answer)), answer)
        return b"".join(parts)

    for count in AT_ONCE:
        frames, returned = join_calls(count), memoryview(join_replies(count))
        calls[count] = spent(lambda n=count: join_calls(n), count)
        taken[count] = spent(lambda f=frames: read_calls(f, []), count)
        sent[count] = spent(lambda n=count: join_replies(n), count)
        replies[count] = spent(lambda f=returned: read_replies(f, []), count)
    return {
        "server: call frames made": calls,
        "worker: call frames read": taken,
        "worker: reply frames made": sent,
        "server: reply frames read": replies,
    }


# --- worker ---


def _worker_parts(case: str) -> Times:
    from our_flows import flow_named

    from penstock.core.flow import Flow
    from penstock.flow.assemble import assemble_local
    from penstock.flow.service import FlowService

    stages, _ = flow_named({"A": "ab", "D": "d"}[case])
    loaded = assemble_local(Flow.parse(stages), threads=1, max_batch=256)
    with tempfile.TemporaryDirectory(prefix="penstock-parts-") as folder:
        service = FlowService(loaded, _no_memory, Path(folder))
        for _ in range(20):
            service.answer(_calls(16))
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)  # as a worker does
        times: Times = {f"{case} worker: all of it": {}}
        for count in AT_ONCE:
            calls = _calls(count)
            times[f"{case} worker: all of it"][count] = spent(
                lambda c=calls: service.answer(c), count
            )
            for name, value in _timed_steps(service, calls).items():
                times.setdefault(f"{case} worker:   {name}", {})[count] = value
    whole = times[f"{case} worker: all of it"]
    named = [v for k, v in times.items() if k.startswith(f"{case} worker:   ")]
    rest = {n: whole[n] - sum(part.get(n, 0.0) for part in named) for n in whole}
    return {**times, f"{case} worker:   the rest": rest}


def _no_memory(_request: Any) -> Any:
    raise RuntimeError("these flows have no memory")


def _calls(count: int) -> list[Any]:
    from penstock.codec.frames import CallFrame

    return [
        CallFrame(i, _RUN_ID.decode(), 0, 0, _FAR, "application/json", memoryview(b), len(b))
        for i, b in enumerate(_bodies(count))
    ]


def _timed_steps(service: Any, calls: list[Any]) -> dict[str, float]:
    """Return the median of each part of `Server-Timing`, per request.

    A model's part is told to each request of the batch in full, so it is divided here.
    """
    found: dict[str, list[float]] = {}
    for _ in range(300):
        text = service.answer(calls)[-1].timing.decode()
        for entry in text.split(", "):
            name, _, value = entry.partition(";dur=")
            found.setdefault(name, []).append(float(value.partition(";")[0]))
    found.pop("queue", None)
    middle = {name: sorted(values)[len(values) // 2] * 1e3 for name, values in found.items()}
    return {k: v / len(calls) if k.endswith("model") else v for k, v in middle.items()}


# --- the floor ---


def _floor_parts() -> Times:
    """The same flow as a plain function: what no server can be below."""
    import flow

    tabular = flow.Tabular()
    times: Times = {"floor: flow as a function, joined": {}}
    for count in AT_ONCE:
        rows = [json.loads(body) for body in _bodies(count)]
        times["floor: flow as a function, joined"][count] = spent(
            lambda r=rows: tabular.many(r), count
        )
    return times
