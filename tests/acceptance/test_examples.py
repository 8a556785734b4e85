"""The examples: each runs as its users run it, and says what it promises.

The digits example is looked at more closely: pictures as binary files, torch features, XGBoost, an
argmax, a dict.
"""

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

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "digits"
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


#: For each example its deployment, what it prints besides, and how often it must be right.
PROMISES: dict[str, tuple[str, list[str], float | None]] = {
    "digits": ("digits", [r"Server-Timing: .*s1-pre.*s1-model.*s2-model.*s2-post",
                          r"as version 2", r"accuracy on 450 held-out digits: ([\d.]+)%"], 95),
    "tabular": ("wine", [r"function_failed: pre of stage 1 \(pre\(\)\) .* wine 0 lacks alcohol",
                         r"version 2 serves; back to version 1", r"the same answers: True",
                         r"accuracy on 72 held-out wines: ([\d.]+)%"], 90),
    "photos": ("photos", [r"'file': '00-0.jpg', 'label': 'temple'", r"200 \[{'file': '00-0.jpg'",
                          r"accuracy on 60 held-out pieces: ([\d.]+)%"], 90),
    "languages": ("languages", [r"accuracy on \d+ unseen sentences: ([\d.]+)%"], 60),
    "places": ("places", [r"precision 9\d\.\d%, recall [89]\d\.\d%",
                          r"MONEY \$1 billion$", r"CITY London, UTC\+[01]$",
                          r"CITY Nairobi, UTC\+3$", r"CITY Sao Paulo, UTC-[23]$"], None),
    "batch": ("progress", [r"12 came, 0 with a wrong signature", r"the runs say the same: True",
                           r"221 rows in scores.csv; mean absolute error \d\d\.\d$"], None),
}  # fmt: skip


def test_every_folder_with_a_demo_is_run_and_in_the_list_of_examples() -> None:
    page = (EXAMPLES / "README.md").read_text()
    found = {demo.parent.name for demo in EXAMPLES.glob("*/demo.py")}
    assert found == set(PROMISES)
    assert [name for name in found if f"`{name}/`" not in page] == []


@pytest.mark.parametrize("name", PROMISES)
def test_the_demo_runs_to_its_end_and_shows_what_it_promises(name: str, tmp_path: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name / "demo.py"],
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
        env=clean,
        cwd=tmp_path,
    )
    shown = done.stdout
    assert done.returncode == 0, shown + done.stderr
    server = re.search(r"http://127\.0\.0\.1:\d+$", shown, re.MULTILINE)
    assert server is not None, shown
    deployment, lines, least = PROMISES[name]
    endpoint = rf"^🌍 Endpoint: {server[0]}/v1/default/{deployment}/predict$"
    found = [re.search(line, shown, re.MULTILINE) for line in (endpoint, *lines)]
    assert all(found), shown
    if least is not None:
        assert found[-1] is not None
        assert float(found[-1][1]) > least
    assert f"Dashboard: {server[0]}/" in shown
    assert list(tmp_path.iterdir()) == []
