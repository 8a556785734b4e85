"""The digits example: pictures as binary files, torch features, XGBoost, an argmax, a dict."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock import Endpoint

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
PROGRAM_S = 240


def part(name: str) -> ModuleType:
    """Return a module of the example, known under the name that its users import it by."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trained models' folder, the held-out pictures and what they show."""
    folder = tmp_path_factory.mktemp("digits")
    before = sys.path.copy()
    sys.path.insert(0, str(EXAMPLE))
    yield {"folder": folder, **part("train").main(folder)}
    sys.path[:] = before
    for name in ("train", "flow"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def endpoint(made: Any, put_once: Any) -> Endpoint:
    return put_once(part("flow").flow(made["folder"]), "digits-example")


def test_s24_the_repaired_sample_names_more_than_95_percent_of_the_held_out_digits(
    made: Any, endpoint: Endpoint
) -> None:
    files, labels = made["files"], made["labels"]
    assert len(files) == 450
    named: dict[str, int] = {}
    for at in range(0, len(files), 150):
        batch = files[at : at + 150]
        named |= endpoint.predict([file.stem for file in batch], files=batch)
    right = sum(named[file.stem] == label for file, label in zip(files, labels, strict=True))
    assert len(named) == len(files)
    assert right / len(files) > 0.95


def test_pictures_and_names_keep_the_order_they_were_sent_in(made: Any, endpoint: Endpoint) -> None:
    files = made["files"][:40]
    alone = [endpoint.predict([f.stem], files=[f])[f.stem] for f in files]
    assert len(set(alone)) > 5
    forward = endpoint.predict([f.stem for f in files], files=files)
    backward = endpoint.predict([f.stem for f in files[::-1]], files=files[::-1])
    assert list(forward) == [f.stem for f in files]
    assert list(forward.values()) == alone
    assert list(backward.values()) == alone[::-1]
    # The names are only names: give them to other pictures and they follow those.
    moved = endpoint.predict([f.stem for f in files], files=files[::-1])
    assert list(moved.values()) == alone[::-1]


def test_the_demo_runs_to_its_end_and_shows_endpoint_timing_accuracy_and_dashboard() -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
    done = subprocess.run(
        [sys.executable, EXAMPLE / "demo.py"],
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
        env=clean,
    )
    shown = done.stdout
    assert done.returncode == 0, done.stderr
    server = re.search(r"http://127\.0\.0\.1:\d+$", shown, re.MULTILINE)
    assert server is not None, shown
    assert re.search(rf"^🌍 Endpoint: {server[0]}/v1/default/digits/predict$", shown, re.MULTILINE)
    assert re.search(r"Server-Timing: .*s1-pre.*s1-model.*s2-model.*s2-post", shown)
    assert "as version 2" in shown
    accuracy = re.search(r"accuracy on 450 held-out digits: ([\d.]+)%", shown)
    assert accuracy is not None, shown
    assert float(accuracy[1]) > 95
    assert f"Dashboard: {server[0]}/" in shown
