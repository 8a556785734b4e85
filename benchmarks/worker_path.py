"""The worker's way of a call in this process: CPU microseconds per request, split by part.

  python benchmarks/worker_path.py [--windows 60] [--cases ABDE] [--profile A64]

Frames as they leave the server go through what the worker's loop calls: frames read, service,
replies joined. Flows are those of `our_flows.py`. Each figure is the least of many short windows of
this thread's CPU time, so what else runs on the machine hardly shows. The rows below `all` are the
same work without Penstock: what the user's functions, the models and the JSON library cost on
their own. `ours` is the difference.
"""

import argparse
import cProfile
import gc
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "servers"))

AT_ONCE = (1, 16, 64)
_WINDOW_S = 0.012
_FAR = 1 << 62
_RUN_ID = b"12345678-1234-4234-8234-123456789abc"
_FLOWS = {"A": "ab", "B": "ab", "D": "d", "E": "e"}
_MEDIA = {"E": b"application/x-npy"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--cases", default="ABDE")
    parser.add_argument("--profile", help="a case and a number, such as A64")
    given = parser.parse_args()
    if given.profile:
        profile(given.profile[0], int(given.profile[1:]))
        return 0
    for case in given.cases:
        rows = {count: parts(case, count, given.windows) for count in AT_ONCE if fits(case, count)}
        print(f"\n{case}: CPU µs per request, by number of requests taken at once\n")
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        print(f"  {'':<28}" + "".join(f"{count:>10}" for count in rows))
        for name in names:
            print(f"  {name:<28}" + "".join(f"{row[name]:>10.2f}" for row in rows.values()))
    return 0


def fits(case: str, count: int) -> bool:
    """Whether so many requests of a case are worth a figure."""
    return case != "E" or count == 1


def least(function: Callable[[], Any], windows: int) -> float:
    """Return the least CPU microseconds of one call of `function`."""
    function()
    begun = time.perf_counter()
    function()
    times = max(1, int(_WINDOW_S / max(1e-7, time.perf_counter() - begun)))
    best = float("inf")
    for _ in range(windows):
        start = time.thread_time_ns()
        for _ in range(times):
            function()
        best = min(best, (time.thread_time_ns() - start) / times)
    return best / 1e3


def parts(case: str, count: int, windows: int) -> dict[str, float]:
    """Return the parts of `count` requests taken at once, per request."""
    whole = way_of(case, count)
    found = {"all": least(whole, windows)}
    bare = {name: least(work, windows) for name, work in bare_parts(case, count).items()}
    found["ours"] = found["all"] - sum(bare.values())
    return {name: value / count for name, value in {**found, **bare}.items()}


def way_of(case: str, count: int) -> Callable[[], bytes]:
    """Return a function that takes frames to replies, as the worker's loop does."""
    from penstock.codec.frames import read_calls
    from penstock.engine.local.intake import Outbox

    service = service_of(case)
    frames = frames_of(case, count)
    large = large_call(case)
    sent: list[bytes] = []

    class _Socket:
        def sendall(self, data: bytes) -> None:
            sent[:] = (data,)

        def sendmsg(self, parts: list[bytes], _rights: Any) -> int:
            sent[:] = parts
            return sum(map(len, parts))

    outbox = Outbox(_Socket())  # type: ignore[arg-type]

    def whole() -> bytes:
        calls: list[Any] = []
        if large is None:
            read_calls(frames, calls)
        else:
            calls.append(large)
        for reply in service.answer(calls):
            outbox.add(reply)
        outbox.flush()
        return sent[0]

    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)  # as in a worker
    for _ in range(40):
        whole()
    if b'{"result"' not in whole():
        raise RuntimeError(f"case {case} answers {sent[0][:600]!r}")
    return whole


def service_of(case: str) -> Any:
    """Return a service of the case's flow whose model calls are proven joinable."""
    from our_flows import flow_named

    from penstock.core.flow import Flow
    from penstock.flow.assemble import assemble_local
    from penstock.flow.service import FlowService

    stages, _ = flow_named(_FLOWS[case])
    rows = 4096 if case == "B" else 256
    loaded = assemble_local(Flow.parse(stages), threads=1, max_batch=rows)
    folder = Path(tempfile.mkdtemp(prefix="penstock-path-"))
    return FlowService(loaded, _no_memory, folder)


def _no_memory(_request: Any) -> Any:
    raise RuntimeError("these flows have no memory")


def bodies_of(case: str, count: int) -> list[bytes]:
    """Return the bodies of `count` requests."""
    from cases import all_rows
    from places import WORK

    if case == "E":
        return [(WORK / "e.npy").read_bytes()] * count
    rows = all_rows()
    if case == "B":
        return [json.dumps(rows[i % 32 :] + rows[: i % 32]).encode() for i in range(count)]
    return [json.dumps([rows[i % len(rows)]]).encode() for i in range(count)]


def frames_of(case: str, count: int) -> bytes:
    """Return the frames of `count` calls, as they leave the server."""
    from penstock.codec.frames import call_header

    media = _MEDIA.get(case, b"application/json")
    joined: list[bytes] = []
    for number, body in enumerate(bodies_of(case, count)):
        joined += (call_header(number, _RUN_ID, 0, 0, _FAR, media, len(body)), body)
    return b"".join(joined)


def large_call(case: str) -> Any | None:
    """Return a call whose body travels as a descriptor; None for the small ones."""
    from penstock.codec.frames import INLINE_LIMIT, CallFrame

    body = bodies_of(case, 1)[0]
    if len(body) <= INLINE_LIMIT:
        return None
    view = memoryview(body)
    media = _MEDIA[case].decode()
    return CallFrame(0, _RUN_ID.decode(), 0, 0, _FAR, media, view, len(body))


def bare_parts(case: str, count: int) -> dict[str, Callable[[], Any]]:
    """Return the same work without Penstock, as functions that do it for all requests."""
    import msgspec
    import numpy as np

    bodies = bodies_of(case, count)
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    if case == "E":
        import torch
        from places import WORK

        module = torch.jit.load(str(WORK / "e.pt")).eval()
        x = np.load(WORK / "e.npy")

        def model_e() -> Any:
            with torch.inference_mode():
                return module(torch.from_numpy(x.copy())).numpy()

        out = model_e().tolist()
        return {"model and a copy": model_e, "JSON out": lambda: encode(out)}
    values = [decode(body) for body in bodies]
    parts: dict[str, Callable[[], Any]] = {"JSON in": lambda: [decode(b) for b in bodies]}
    if case in "AB":
        import flow
        from places import WORK

        from penstock.core.flow import ModelType
        from penstock.loaders.base import ModelFile
        from penstock.loaders.registry import load_model

        tabular = flow.Tabular()
        file = ModelFile(WORK / "xgb.json", "xgb.json")
        xgb = load_model(file, ModelType.XGBOOST_CLASSIFIER, 1)
        made = [flow.pre(value) for value in values]
        whole = np.concatenate(made)
        hidden = tabular.mlp_step(whole)
        probabilities = tabular.xgb_step(hidden)
        rows = len(made[0])
        outs = [probabilities[i * rows : (i + 1) * rows] for i in range(count)]
        values = [flow.post(out) for out in outs]
        parts |= {
            "pre": lambda: [flow.pre(v) for v in bare_values],
            "join": lambda: np.concatenate(made),
            "TorchScript": lambda: tabular.mlp_step(whole),
            "XGBoost": lambda: xgb.predict(hidden),
            "post": lambda: [flow.post(out) for out in outs],
        }
        bare_values = [decode(body) for body in bodies]
    parts["JSON out"] = lambda: [encode(value) for value in values]
    return parts


def profile(case: str, count: int) -> None:
    """Print where the time of `count` requests taken at once goes, function by function."""
    whole = way_of(case, count)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(600):
        whole()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(38)


if __name__ == "__main__":
    sys.exit(main())
