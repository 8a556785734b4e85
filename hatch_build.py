"""Compiles the hot path for a wheel, with mypyc, when `PENSTOCK_COMPILE=1` is set.

`make wheel` sets it. A wheel built without it, and an editable install, are pure Python: the same
modules, interpreted. A compiled wheel has both forms of a module side by side; another Python than
the one it was built with finds no binary of its own, and takes the other.

The modules are named in `pyproject.toml` (`tool.hatch.build.targets.wheel.hooks.custom`). A class
that is compiled can only be the base of classes that are, so theirs are named there, too.
Nothing is written into the source tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: What is compiled with; the tests install the same.
_REQUIREMENTS = ["mypy==2.4.1", "setuptools>=77"]

#: The binary that all modules share. Its name puts it into the package.
_SHARED = "penstock.compiled"

_BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import setup

flags = ["--config-file=mypy.ini"]
modules = mypycify([*flags, *sys.argv[1:]], opt_level="3", debug_level="0", group_name={shared!r})
setup(name="penstock", ext_modules=modules, packages=[], script_args=["build_ext", "--inplace"])
"""


# `make check` looks at the types with all that is imported; here libraries are left out, which
# takes seconds instead of minutes.
_TYPES = """
[mypy]
follow_imports = skip
ignore_missing_imports = True
[mypy-penstock.*]
follow_imports = silent
"""


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """The build hook that hatchling looks for in this file."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what an isolated build needs besides hatchling."""
        return _REQUIREMENTS if _is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the modules and put the binaries into the wheel."""
        if version == "editable" or not _is_wanted():
            return
        # It goes when this hook does, after the wheel is written.
        self._made = tempfile.TemporaryDirectory(prefix="penstock-compile-")
        folder = Path(self._made.name)
        build_data["infer_tag"] = True
        build_data["pure_python"] = False
        for binary in compiled(Path(self.root) / "src", self.config["modules"], folder):
            build_data["force_include"][str(binary)] = str(binary.relative_to(folder))


def compiled(source: Path, modules: list[str], folder: Path) -> list[Path]:
    """Compile modules of the package under `source` in a copy in `folder`; return the binaries.

    Raises:
        RuntimeError: The compiler cannot; with all that it said.
    """
    skipped = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(source / "penstock", folder / "penstock", ignore=skipped)
    (folder / "mypy.ini").write_text(_TYPES)
    paths = [module.replace(".", "/") + ".py" for module in modules]
    command = [sys.executable, "-c", _BUILD.format(shared=_SHARED), *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The hot path cannot be compiled:\n{done.stdout}\n{done.stderr}")
    return sorted((folder / "penstock").rglob("*" + sysconfig.get_config_var("EXT_SUFFIX")))


def _is_wanted() -> bool:
    return os.environ.get("PENSTOCK_COMPILE", "") not in {"", "0"}
