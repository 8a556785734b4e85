"""Which modules a wheel has compiled."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def compiled_modules() -> list[str]:
    """Return the names of the modules that `hatch_build.py` compiles, from `pyproject.toml`."""
    text = (ROOT / "pyproject.toml").read_text()
    block = text.partition("[tool.hatch.build.targets.wheel.hooks.custom]")[2].partition("]")[0]
    return [line.strip(' ",') for line in block.splitlines() if line.strip().startswith('"')]
