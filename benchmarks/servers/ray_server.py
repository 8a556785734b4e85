"""Ray Serve. argv: port replicas max_batch_size wait_s [haproxy]

With `haproxy` (and an haproxy binary on PATH) replicas take requests straight
from HAProxy instead of Ray's Python proxy process.
"""

# ruff: noqa: E402 - the environment is set before the libraries are imported

import os
import shutil
import sys
import time
from pathlib import Path

os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)
os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
if "haproxy" in sys.argv[1:]:
    os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "1"
    os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"] = shutil.which("haproxy") or "haproxy"
    os.environ.setdefault("RAY_SERVE_HAPROXY_NBTHREAD", "1")
args = (sys.argv[1:] + ["8000", "1", "32", "0.0"][len(sys.argv) - 1 :])[:4]
BATCH, WAIT = int(args[2]), float(args[3])

import logging

import flow
import orjson
import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response


def answer(obj):
    return Response(orjson.dumps(obj), media_type="application/json")


@serve.deployment(
    num_replicas=int(args[1]),
    max_ongoing_requests=256,
    ray_actor_options={"num_cpus": 0.5},
    logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
)
class Peer:
    def __init__(self):
        self.tab, self.vis = flow.Tabular(), flow.Vision()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT)
    async def many(self, reqs):
        return self.tab.many(reqs)

    async def __call__(self, request: Request):
        path = request.url.path
        if path == "/ab":
            rows = orjson.loads(await request.body())
            return answer(self.tab.one(rows) if BATCH == 1 else await self.many(rows))
        if path == "/c":
            form = await request.form()
            return answer(self.vis.one(await form["file"].read()))
        return answer(orjson.loads(await request.body()))


if __name__ == "__main__":
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        object_store_memory=200 * 1024 * 1024,
    )
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=int(args[0])),
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )
    serve.run(Peer.bind(), route_prefix="/")
    while True:
        time.sleep(3600)
