"""What machine this is, as far as it matters for a figure, and which versions are measured."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from pauses import longest_ms
from places import OUR_PYTHON, VENVS, our_environment, python_of

_PACKAGES = ("penstock", "torch", "xgboost", "xgboost-cpu", "numpy", "pillow", "uvloop", "msgspec",
             "fastapi", "uvicorn", "granian", "mosec", "litserve", "bentoml", "ray", "mlserver",
             "orjson")  # fmt: skip

_ASK = (
    "import json, sys; from importlib import metadata as m\n"
    "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
    "print(json.dumps({k: found[k] for k in sys.argv[1:] if k in found}))"
)


def describe() -> dict[str, str]:
    """Return the machine's facts, each a short text."""
    return {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{_memory_gib():.0f} GiB",
        "kernel": platform.release(),
        "system": _system(),
        "python": f"{platform.python_version()} ({os.path.realpath(sys.executable)})",
        "hot path": _hot_path(),
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "longest pause": f"{longest_ms(3.0):.1f} ms",
    }


def versions(venvs: list[str]) -> dict[str, dict[str, str]]:
    """Return the versions of what is measured, by environment; `penstock` is our own."""
    found = {"penstock": _installed(OUR_PYTHON)}
    for venv in venvs:
        if python_of(venv).exists():
            found[venv] = _installed(str(python_of(venv)))
    return found


def lines(facts: dict[str, str]) -> list[str]:
    """Return the facts as one line for the head of a report."""
    return [
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory']}, {facts['system']} "
        f"(Linux {facts['kernel']}), Python {facts['python']}, "
        f"hot path {facts.get('hot path', 'interpreted')}, "
        f"longest pause before the run {facts.get('longest pause', 'not known')}"
    ]


def _hot_path() -> str:
    code = "from penstock.codec import frames; print(frames.__file__)"
    command, env = [OUR_PYTHON, "-c", code], our_environment()
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    return "interpreted" if done.stdout.strip().endswith(".py") else "compiled"


def _installed(python: str) -> dict[str, str]:
    done = subprocess.run([python, "-c", _ASK, *_PACKAGES], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


if __name__ == "__main__":
    print(*lines(describe()), sep="\n")
    venvs = sorted(path.name for path in VENVS.iterdir()) if VENVS.exists() else []
    for venv, packages in versions(venvs).items():
        print(f"{venv}: " + ", ".join(f"{k} {v}" for k, v in packages.items()))
