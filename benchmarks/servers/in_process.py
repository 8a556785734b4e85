"""No server: one Python thread that calls the flow in a loop. Prints one JSON line per case.

argv: seconds per case. The request body is parsed and the answer written with orjson, as any JSON
server must; nothing else is done. It is the floor that every server is compared with.
"""

import json
import sys
import time

import flow
import orjson


def loop(function, seconds):
    for _ in range(200):
        function()
    taken, begun, cpu = [], time.perf_counter(), time.process_time()
    now = begun
    while now < begun + seconds:
        function()
        later = time.perf_counter()
        taken.append(later - now)
        now = later
    cpu = time.process_time() - cpu
    taken.sort()
    return {
        "rps": len(taken) / (now - begun),
        "p50_ms": taken[len(taken) // 2] * 1e3,
        "p99_ms": taken[int(len(taken) * 0.99)] * 1e3,
        "cpu_us": cpu / len(taken) * 1e6,
        "n": len(taken),
        "errors": 0,
    }


def main():
    seconds = float(sys.argv[1])
    tabular, vision = flow.Tabular(), flow.Vision()
    a, b = ((flow.WORK / f"{name}.json").read_bytes() for name in "ab")
    jpeg = (flow.WORK / "c.jpg").read_bytes()
    work = {
        "A": lambda: orjson.dumps(tabular.one(orjson.loads(a))),
        "B": lambda: orjson.dumps(tabular.one(orjson.loads(b))),
        "C": lambda: orjson.dumps(vision.one(jpeg)),
        "D": lambda: orjson.dumps(orjson.loads(a)),
    }
    for case, function in work.items():
        print(json.dumps({"case": case, **loop(function, seconds)}), flush=True)


if __name__ == "__main__":
    main()
