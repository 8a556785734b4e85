"""Which JSON library reads and writes the bodies of the cases fastest: CPU microseconds.

  python -m pip install orjson pysimdjson     # those that are missing are left out
  python benchmarks/json_parsers.py [--windows 40]

Each figure is the least of many short windows of this thread's CPU time. `to array` is what a
model needs in the end: the numbers as float32. simdjson hands numbers over as one buffer there,
without Python objects in between, but only where all rows have one length and all are floats.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from models import ensure_models
from places import WORK
from worker_path import least

_BODIES = {"A": "a.json", "B": "b.json", "E": "e.json"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--windows", type=int, default=40)
    windows = parser.parse_args().windows
    ensure_models()
    print(f"{'':<24}" + "".join(f"{case:>12}" for case in _BODIES))
    rows: dict[str, list[float]] = {}
    for name in _BODIES.values():
        for what, work in ways((WORK / name).read_bytes()).items():
            rows.setdefault(what, []).append(least(work, windows))
    for what, values in rows.items():
        print(f"{what:<24}" + "".join(f"{value:>12.1f}" for value in values))
    return 0


def ways(body: bytes) -> dict[str, Callable[[], Any]]:
    """Return every way to read and write `body`, by name."""
    readers: dict[str, Callable[[bytes], Any]] = {"json": json.loads}
    writers: dict[str, Callable[[Any], Any]] = {"json": json.dumps}
    msgspec, orjson, simdjson = map(_library, ("msgspec", "orjson", "simdjson"))
    if msgspec:
        readers["msgspec"] = msgspec.json.Decoder().decode
        writers["msgspec"] = msgspec.json.Encoder().encode
    if orjson:
        readers["orjson"], writers["orjson"] = orjson.loads, orjson.dumps
    if simdjson:
        readers["simdjson"] = simdjson.loads
    value = json.loads(body)
    found: dict[str, Callable[[], Any]] = {}
    for name, read in readers.items():
        found[f"read, {name}"] = lambda read=read: read(body)
    for name, read in readers.items():
        found[f"to array, {name}"] = lambda read=read: np.asarray(read(body), np.float32)
    if simdjson:
        shape = np.asarray(value).shape

        def buffered() -> Any:
            numbers = simdjson.Parser().parse(body).as_buffer(of_type="d")
            return np.frombuffer(numbers).reshape(shape).astype(np.float32)

        if np.allclose(buffered(), np.asarray(value, np.float32)):
            found["to array, simdjson buffer"] = buffered
    for name, write in writers.items():
        found[f"write, {name}"] = lambda write=write: write(value)
    return found


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


if __name__ == "__main__":
    sys.exit(main())
