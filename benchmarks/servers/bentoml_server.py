"""BentoML service API. argv: port workers [batch]   (env BENCH_BENTO_BATCH=1: adaptive batching)"""

import os
import sys
import typing as t
from pathlib import Path

import bentoml
import flow
from PIL.Image import Image

BATCH = os.environ.get("BENCH_BENTO_BATCH") == "1"
WORKERS = int(os.environ.get("BENCH_BENTO_WORKERS", "1"))
Rows = list[list[float]]
Preds = list[dict[str, t.Any]]


@bentoml.service(
    workers=WORKERS,
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Peer:
    def __init__(self):
        self.tab, self.vis = flow.Tabular(), flow.Vision()
        if os.environ.get(
            "BENCH_GCFREEZE"
        ):  # experiment: are the latency spikes the garbage collector?
            import gc

            gc.collect()
            gc.freeze()

    if BATCH:

        @bentoml.api(route="/ab", batchable=True, max_batch_size=1024, max_latency_ms=1000)
        async def ab(self, rows: Rows, /) -> Preds:
            return self.tab.one(rows)

        @bentoml.api(route="/d", batchable=True, max_batch_size=1024, max_latency_ms=1000)
        async def d(self, rows: Rows, /) -> Rows:
            return rows
    else:

        @bentoml.api(route="/ab")
        async def ab(self, rows: Rows, /) -> Preds:
            return self.tab.one(rows)

        @bentoml.api(route="/d")
        async def d(self, rows: Rows, /) -> Rows:
            return rows

    @bentoml.api(route="/c")
    async def c(self, file: Image) -> Preds:
        return self.vis.one(file)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    os.environ["BENCH_BENTO_WORKERS"] = sys.argv[2] if len(sys.argv) > 2 else "1"
    os.environ["BENCH_BENTO_BATCH"] = "1" if "batch" in sys.argv[3:] else "0"
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.chdir(here)
    os.execv(
        sys.executable,
        [
            sys.executable,
            "-m",
            "bentoml",
            "serve",
            "bentoml_server:Peer",
            "--port",
            sys.argv[1],
            "--host",
            "127.0.0.1",
        ],
    )
