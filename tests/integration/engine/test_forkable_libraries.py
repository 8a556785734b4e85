"""Model libraries start no thread when they are imported: only so can workers be forked."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from penstock.engine.local.child_env import child_environment

COUNT = "import os, {0}; print(len(os.listdir('/proc/self/task')))"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
@pytest.mark.parametrize(
    "module", ["torch", "xgboost", "sklearn", "pandas", "pyarrow", "PIL.Image"]
)
def test_importing_it_starts_no_thread_in_a_zygote(module: str) -> None:
    pytest.importorskip(module)
    environment = child_environment(os.environ)
    code = COUNT.format(module)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "1", done.stderr
