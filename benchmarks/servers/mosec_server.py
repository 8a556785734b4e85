"""Mosec: Rust HTTP + batching controller, Python workers over a Unix socket.

argv: port workers max_batch_size wait_ms
"""

# ruff: noqa: E402 - the environment is set before the libraries are imported

import os
import sys

if "BENCH_MOSEC" not in os.environ:  # workers are spawned and read this file again
    os.environ["BENCH_MOSEC"] = " ".join(
        (sys.argv[1:] + ["8000", "2", "1", "1"][len(sys.argv) - 1 :])[:4]
    )
    sys.argv = [
        sys.argv[0],
        "--port",
        os.environ["BENCH_MOSEC"].split()[0],
        "--address",
        "127.0.0.1",
        "--log-level",
        "warning",
        "--timeout",
        "30000",
    ]
NUM, BATCH, WAIT = (int(v) for v in os.environ["BENCH_MOSEC"].split()[1:])

import flow
import orjson
from mosec import Server, Worker


class Json(Worker):
    def deserialize(self, data):
        return orjson.loads(data)

    def serialize(self, data):
        return orjson.dumps(data)


class TabWorker(Json):
    def __init__(self):
        self.f = flow.Tabular()

    def forward(self, data):
        return self.f.one(data) if BATCH == 1 else self.f.many(data)


class VisWorker(Json):
    def __init__(self):
        self.f = flow.Vision()

    def deserialize(self, data):
        return flow.first_part(data)

    def forward(self, data):
        return self.f.one(data)


class Echo(Json):
    def forward(self, data):
        return data


if __name__ == "__main__":
    s = Server()
    s.append_worker(TabWorker, num=NUM, max_batch_size=BATCH, max_wait_time=WAIT, route="/ab")
    s.append_worker(VisWorker, num=2, route="/c")
    s.append_worker(Echo, num=NUM, max_batch_size=BATCH, max_wait_time=WAIT, route="/d")
    s.run()
