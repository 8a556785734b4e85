"""TENSORFLOW in an environment of its own: built by uv, with Penstock and TensorFlow in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock import Conduit, PenstockError, model_type

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "tests" / "programs" / "saved_model.py"
BUILD_S, PROGRAM_S = 240, 240


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program saw; skipped where the packages cannot be had."""
    folder = tmp_path_factory.mktemp("tensorflow")
    home = folder / "venv"
    assert uv("venv", "-q", "--python", sys.executable, str(home)).returncode == 0
    python = str(home / "bin" / "python")
    wanted = f"penstock[server,tensorflow] @ {ROOT.as_uri()}"
    built = uv("pip", "install", "-q", "--python", python, wanted)
    if built.returncode:
        shutil.rmtree(home)
        pytest.skip(f"TensorFlow cannot be installed here: {built.stderr[-300:]}")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "KERAS_"))}
    done = subprocess.run(
        [python, str(PROGRAM), str(folder)],
        capture_output=True, text=True, timeout=PROGRAM_S, env=inherited, check=False,
    )  # fmt: skip
    shutil.rmtree(home)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_saved_model_answers_as_tensorflow_does_here_and_served(told: dict[str, Any]) -> None:
    np.testing.assert_allclose(told["here"], told["own"], rtol=1e-5)
    assert told["served"] == told["here"]
    assert told["named"] == told["here"]


def test_calls_at_once_get_their_own_rows(told: dict[str, Any]) -> None:
    np.testing.assert_allclose(told["together"], told["here"], rtol=1e-5)


def test_a_saved_model_is_a_program_and_refuses_what_does_not_fit(told: dict[str, Any]) -> None:
    assert told["runs_code"] is True
    assert told["narrow"] == "input_mismatch"


def test_where_tensorflow_is_missing_the_message_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(PenstockError, match="needs tensorflow, which is not installed") as caught:
        Conduit("here", None, [(model_type.TENSORFLOW, tmp_path)]).load()
    assert 'pip install "penstock[tensorflow]"' in (caught.value.hint or "")
