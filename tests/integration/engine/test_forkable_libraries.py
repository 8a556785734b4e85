"""Model libraries start no thread when they are imported: only so can workers be forked."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from penstock.engine.local.child_env import child_environment
from penstock.loaders.registry import PRELOAD

#: Imports in turn, and tells how many threads there are after each.
COUNT = """
import importlib, json, os, sys
found = {}
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    found[name] = len(os.listdir("/proc/self/task"))
print(json.dumps(found))
"""

AHEAD = dict.fromkeys(name for modules in PRELOAD.values() for name in modules)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_importing_what_zygotes_have_starts_no_thread() -> None:
    names = [
        name
        for name in (*AHEAD, "pandas", "pyarrow", "PIL.Image")
        if importlib.util.find_spec(name.partition(".")[0])
    ]
    assert {"torch", "xgboost", "sklearn", "pandas"} <= set(names)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COUNT, json.dumps(names)],
        env=child_environment(os.environ), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    assert {name: count for name, count in counted.items() if count > 1} == {}
