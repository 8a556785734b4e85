"""What pip is told on this machine about where packages come from.

A company's machines are often set up for pip: an index of its own, a folder of wheels, a
certificate. uv does not read that, so environments would ignore it. Read here are pip's environment
variables and its configuration files, as pip's documentation orders them ("Configuration"):
the machine's, the user's, the virtual environment's, each over the one before, the variables over
all. Called by `penstock.environments.sources`.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: Options of pip that matter here.
_OPTIONS = (
    "index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "proxy",
    "timeout", "default-timeout",
)  # fmt: skip

#: Sections of the files that hold for installing, later over earlier.
_SECTIONS = ("global", "download", "install")


def read_pip_config(
    environ: Mapping[str, str] | None = None, *, machine: Path = Path("/etc")
) -> dict[str, str]:
    """Return pip's options by their long names; those that nobody set are left out.

    Args:
        environ: Environment variables; `os.environ` by default.
        machine: Folder of the machine's own configuration.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, str] = {}
    for path in _files(environ, machine):
        found.update(_read(path))
    for option in _OPTIONS:
        value = environ.get("PIP_" + option.upper().replace("-", "_"))
        if value:
            found[option] = value
    return found


def _files(environ: Mapping[str, str], machine: Path) -> list[Path]:
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME") or Path.home())
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    shared = (environ.get("XDG_CONFIG_DIRS") or str(machine / "xdg")).split(os.pathsep)
    files = [Path(folder) / "pip" / "pip.conf" for folder in reversed(shared) if folder]
    files += [machine / "pip.conf", home / ".pip" / "pip.conf", user / "pip" / "pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(named)] if named else files


def _read(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}  # absent, or broken: pip itself would say so
    found: dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            for key, value in parser.items(section):
                name = key.replace("_", "-")
                if name in _OPTIONS and value.strip():
                    found[name] = " ".join(value.split())
    return found
