from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import json, resource
from penstock.engine.sandbox import limits
limits.apply(64, 1 << 20, 0)
limits.apply(128, 1 << 21, 0)
names = ("RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_FSIZE")
print(json.dumps([resource.getrlimit(getattr(resource, name)) for name in names]))
print(open("/proc/self/oom_score_adj").read())
"""


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="needs /proc")
def test_a_worker_has_its_limits_for_good_and_gives_its_memory_first() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    limits, score = done.stdout.splitlines()[:2]
    assert json.loads(limits) == [[0, 0], [64, 64], [1 << 20, 1 << 20]]
    assert int(score) >= 500
    assert int(Path("/proc/self/oom_score_adj").read_text()) < int(score), os.getpid()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
