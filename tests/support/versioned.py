"""Flows that say which version answered, and candidates that are broken in a known way.

Used by the tests of deploys, rollbacks and restarts. The functions are made by factories, so that
they travel by value, each with its own number.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock import Endpoint, deploy, model_type

#: Set in the process that deploys only: modules of `broken` load here and not in a worker.
HERE = "PENSTOCK_TEST_DEPLOYING"


def same_model(folder: Path) -> Path:
    """Write and return a scaler that leaves its input as it is."""
    import joblib
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((2, 1)))
    path = folder / "same.joblib"
    joblib.dump(scaler, path)
    return path


def numbered(model: Path, number: int) -> list[Any]:
    """Return a flow of two stages whose four functions each note `number`.

    Its answer is `{"seen": [number, …]}`: the numbers in the order the functions ran.
    """

    def start(data: Any) -> Any:
        from penstock import save

        save("seen", [number], scope="run")
        return data

    def go_on(result: Any) -> Any:
        from penstock import get, save

        save("seen", [*get("seen"), number], scope="run")
        return result

    def end(result: Any) -> Any:
        from penstock import get

        return {"seen": [*get("seen"), number]}

    kind = model_type.SKLEARN_PREPROCESSOR
    return [
        (kind, model, {"pre": start, "post": go_on}),
        (kind, model, {"pre": go_on, "post": end}),
    ]


def put(server: Any, flow: list[Any], name: str, **options: Any) -> Endpoint:
    """Deploy `flow` to a live server."""
    options = {"quiet": True, "check_locally": False, **options}
    return deploy(flow, name, server.keys["deploy"], server=server.url, **options)


def module_that(folder: Path, name: str, text: str) -> list[Any]:
    """Return a flow that uses a local module, which runs `text` in a worker and not here."""
    (folder / f"{name}.py").write_text(
        f"import os\n\nif {HERE!r} not in os.environ:\n    {text}\n\n\ndef same(x):\n    return x\n"
    )
    os.environ[HERE] = "1"
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))

    def model(value: Any) -> Any:
        return module.same(value)

    return [(model_type.PYTHON, model)]


def import_error(model: Path, folder: Path, number: int) -> list[Any]:
    """A version whose module cannot be imported."""
    text = "raise ImportError('libturbine.so.3: cannot open shared object file')"
    return module_that(folder, f"broken_import_{number}", text)


def slow_start(model: Path, folder: Path, number: int) -> list[Any]:
    """A version that takes its time to load, and then does not."""
    text = "import time; time.sleep(1.0); raise RuntimeError('no weights after all')"
    return module_that(folder, f"broken_slow_{number}", text)


def crash_at_load(model: Path, folder: Path, number: int) -> list[Any]:
    """A version that crashes in C while it loads."""
    text = "import signal; os.kill(os.getpid(), signal.SIGSEGV)"
    return module_that(folder, f"broken_crash_{number}", text)


def failing_example(model: Path, folder: Path, number: int) -> list[Any]:
    """A version that loads and fails its example."""

    def post(result: Any) -> Any:
        raise ValueError(f"no labels in build {number}")

    return [(model_type.SKLEARN_PREPROCESSOR, model, {"post": post})]


#: Every way in which a candidate can be broken, with what is said about it.
BROKEN: dict[str, tuple[Callable[[Path, Path, int], list[Any]], str]] = {
    "import error": (import_error, "libturbine"),
    "failing example": (failing_example, "no labels"),
    "slow start": (slow_start, "no weights"),
    "crash at load": (crash_at_load, "SIGSEGV"),
}
