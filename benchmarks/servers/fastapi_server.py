"""FastAPI + uvicorn (uvloop, httptools, orjson), direct call on the event loop."""

import os
import sys
from pathlib import Path

import flow
import orjson
from fastapi import FastAPI, Request, Response, UploadFile

app = FastAPI(openapi_url=None)
TAB = VIS = None


def answer(obj):
    return Response(orjson.dumps(obj), media_type="application/json")


@app.post("/ab")
async def ab(request: Request):
    return answer(TAB.one(orjson.loads(await request.body())))


@app.post("/c")
async def c(file: UploadFile):
    return answer(VIS.one(await file.read()))


@app.post("/d")
async def d(request: Request):
    return answer(orjson.loads(await request.body()))


if os.environ.get("BENCH_LOAD"):
    TAB, VIS = flow.Tabular(), flow.Vision()

if __name__ == "__main__":
    import uvicorn

    os.environ["BENCH_LOAD"] = "1"
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    uvicorn.run(
        "fastapi_server:app",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]) if len(sys.argv) > 2 else 1,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
