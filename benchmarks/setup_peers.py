"""Makes the peers' virtual environments and the models; a line of progress for each.

  python benchmarks/setup_peers.py             all of them, one after the other
  python benchmarks/setup_peers.py base mosec  only these

An environment that cannot be made is reported and left out; the others are made all the same.
Torch is installed first and by itself: where pip finds a CPU build of it, that build is taken.
"""

import shutil
import subprocess
import sys
import time

from models import ensure_models
from peers import GROUPS, PEERS
from places import VENVS, python_of

#: The frameworks every environment has, at the versions the results name.
TORCH = "torch==2.13.0"
FRAMEWORKS = ("xgboost-cpu==3.2.0", "numpy", "pillow", "orjson", "python-multipart")

LIMIT_S = 900


def main() -> int:
    asked = sys.argv[1:] or list(GROUPS)
    unknown = [name for name in asked if name not in GROUPS]
    if unknown:
        print(f"There is no environment {unknown[0]!r}; there are: {', '.join(GROUPS)}.")
        return 2
    VENVS.mkdir(parents=True, exist_ok=True)
    failed = [name for name in asked if not _make(name)]
    if python_of("base").exists():
        ensure_models()
    for tool in ("wrk", "haproxy"):
        if shutil.which(tool) is None:
            print(f"{tool} is missing: install it with your distribution's packages.")
    if failed:
        lost = [name for name, peer in PEERS.items() if peer.venv in failed]
        print(f"Left out: {', '.join(failed)}, so there will be no {', '.join(lost)}.")
    return 0


def _make(name: str) -> bool:
    """Make one environment; return whether it is there."""
    ready = VENVS / name / ".ready"
    if ready.exists():
        print(f"{name}: there already")
        return True
    begun = time.monotonic()
    print(f"{name}: {', '.join(GROUPS[name].packages)} ...", end=" ", flush=True)
    pip = [str(python_of(name)), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    steps = [
        [sys.executable, "-m", "venv", str(VENVS / name)],
        [*pip, TORCH],
        [*pip, *FRAMEWORKS, *GROUPS[name].packages],
    ]
    for step in steps:
        wrong = _run(step)
        if wrong:
            print(f"FAILED: {wrong}")
            return False
    ready.touch()
    print(f"{time.monotonic() - begun:.0f} s")
    return True


def _run(command: list[str]) -> str:
    """Run a command; return "" or the last line it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
    return "" if done.returncode == 0 else said[-1][:200]


if __name__ == "__main__":
    sys.exit(main())
