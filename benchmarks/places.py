"""Where things are: the work folder, the peers' virtual environments, Penstock's interpreter."""

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVERS = HERE / "servers"

#: Models, request bodies, logs, results.
WORK = Path(os.environ.get("PENSTOCK_BENCH_DIR") or Path(tempfile.gettempdir()) / "penstock-bench")

#: One virtual environment per group of peers.
VENVS = Path(os.environ.get("PENSTOCK_BENCH_VENVS") or WORK / "venvs")

#: The interpreter that has Penstock with its server and frameworks.
OUR_PYTHON = os.environ.get("PENSTOCK_BENCH_PYTHON") or sys.executable

#: The package to measure, unpacked from a wheel; without one, what that interpreter imports.
PACKAGE = os.environ.get("PENSTOCK_BENCH_PACKAGE", "")

#: What `make_models.py` writes.
MODEL_FILES = ("mlp.pt", "xgb.json", "cnn.pt", "same.pt", "e.pt", "a.json", "b.json", "c.jpg",
               "c3.jpg", "e.npy", "e.json", "e_answer.json", "answers.json")  # fmt: skip


def python_of(venv: str) -> Path:
    """Return the interpreter of a peer's environment."""
    return VENVS / venv / "bin" / "python"


def environment(**more: str) -> dict[str, str]:
    """Return the variables every started process gets: one thread for the models, our folder."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    return {**os.environ, **threads, "PENSTOCK_BENCH_DIR": str(WORK), **more}


def our_environment(**more: str) -> dict[str, str]:
    """Return the variables of Penstock's own processes."""
    path = {"PYTHONPATH": str(Path(PACKAGE).resolve())} if PACKAGE else {}
    return environment(**path, **more)
