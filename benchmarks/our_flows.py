"""Penstock's flows of the cases, and a process that deploys them when told to.

Run by `ours.py` with the interpreter that has Penstock: one JSON command a line on standard input,
one JSON answer a line on standard output. The functions are those of `servers/flow.py`, which is
shipped with them as a local module.
"""

import asyncio
import inspect
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "servers"))
import flow
import numpy as np

import penstock
from penstock import model_type

sys.modules["__main__"].__file__ = None  # functions of this script travel by value


def pre_files(data, files):
    return np.concatenate([flow.pre_image(file) for file in files])


def post_scores(scores):
    return flow.post(flow.softmax(scores.numpy()))


def identity(data):
    return data


def pre_wait(data):
    time.sleep(0.05)
    return data


async def pre_wait_async(data):
    await asyncio.sleep(0.05)
    return data


def has_python_stage():
    """Whether a stage may be a plain function."""
    return "PYTHON" in model_type.__members__


def echo_stage(functions=None):
    """A stage that returns what it gets: a function where that is possible, else TorchScript."""
    source = identity if has_python_stage() else str(flow.WORK / "same.pt")
    kind = model_type.PYTHON if has_python_stage() else model_type.TORCH
    return (kind, source, functions) if functions else (kind, source)


def flow_named(name):
    """Return a flow and the options it is deployed with."""
    folder = flow.WORK
    rows = json.loads((folder / "b.json").read_text())
    if name == "ab":
        stages = [
            (model_type.TORCH, str(folder / "mlp.pt"), {"pre": flow.pre}),
            (model_type.XGBOOST_CLASSIFIER, str(folder / "xgb.json"), {"post": flow.post}),
        ]
        return stages, {"example": rows[:4]}
    if name == "c":
        stages = [
            (model_type.TORCH, str(folder / "cnn.pt"), {"pre": pre_files, "post": post_scores})
        ]
        return stages, {"example": [], "example_files": [str(folder / "c.jpg")]}
    if name == "d":
        return [echo_stage()], {"example": rows[:4]}
    if name == "e":
        return [(model_type.TORCH, str(folder / "e.pt"))], {}
    if name in {"wait", "wait-async"}:
        wait = pre_wait if name == "wait" else pre_wait_async
        return [echo_stage({"pre": wait})], {"concurrency": 64}
    raise ValueError(f"there is no flow {name!r}")


def deploy(server, key, flow_name, name, options):
    """Deploy a flow and return its URL, its version and the seconds it took."""
    stages, own = flow_named(flow_name)
    given = {**own, **options}
    known = inspect.signature(penstock.deploy).parameters
    missing = [option for option in given if option not in known]
    if missing:
        return {"missing": missing}
    begun = time.perf_counter()
    endpoint = penstock.deploy(stages, name, key, server=server, quiet=True, **given)
    seconds = time.perf_counter() - begun
    return {"url": str(endpoint), "version": endpoint.version, "seconds": seconds}


def main():
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = deploy(**command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
