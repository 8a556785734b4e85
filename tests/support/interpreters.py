"""The Python interpreters of this machine, as a server finds them for its environments."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from penstock.environments import pythons

MINORS = ("3.10", "3.11", "3.12", "3.13")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@functools.cache
def found() -> dict[str, Path]:
    """Return an executable for each minor version in `MINORS` that is there, this one included."""
    every = {python.interpreter.minor: python.path for python in pythons.find("auto")}
    return {minor: every[minor] for minor in MINORS if minor in every}


def others() -> dict[str, Path]:
    """Return those of other versions than the one that runs."""
    return {minor: path for minor, path in found().items() if minor != HERE}
