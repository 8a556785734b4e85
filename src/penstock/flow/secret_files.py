"""Reads `secrets.json` and `secrets.yaml` on the user's machine; asked by `get_secret` only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from penstock.core.errors import SecretMissing

#: Names of files, the first one that exists counts.
FILES = ("secrets.json", "secrets.yaml", "secrets.yml")

#: A folder with one of these is the root of a project: nothing is looked for above it.
_ROOTS = (".git", "pyproject.toml", "setup.py", "setup.cfg")


class SecretFile(NamedTuple):
    """A file of secrets and what is in it, every value as text."""

    path: Path
    values: dict[str, str]

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r}, {len(self.values)} secrets)"


def read_secret_file(folder: Path) -> SecretFile | None:
    """Return the secrets of the nearest file, from `folder` up to the root of the project.

    Raises:
        SecretMissing: The file is no mapping of names to values.
    """
    for place in _upwards(folder):
        for name in FILES:
            path = place / name
            if path.is_file():
                return SecretFile(path, _texts(path, _parse(path)))
    return None


def _upwards(folder: Path) -> Iterator[Path]:
    for place in (folder, *folder.parents):
        yield place
        if any((place / name).exists() for name in _ROOTS):
            return


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, type(error).__name__) from None
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError:
            raise _unreadable(path, "it is not JSON") from None
    return _parse_yaml(path, text)


def _parse_yaml(path: Path, text: str) -> Any:
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        return _plain_yaml(path, text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise _unreadable(path, "it is not YAML") from None


def _plain_yaml(path: Path, text: str) -> dict[str, str]:
    """Read `NAME: value` lines: all that a file of secrets needs of YAML."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#") or bare == "---":
            continue
        name, colon, value = bare.partition(":")
        value = value.strip()
        if not colon or line[:1].isspace() or value[:1] in {"|", ">", "{", "[", "&", "*", "!"}:
            raise _unreadable(path, f"line {number} is more than `NAME: value`; install pyyaml")
        found[name.strip().strip("'\"")] = _scalar(value)
    return found


def _scalar(value: str) -> str:
    for mark in ("'", '"'):
        if value.startswith(mark):
            return value[1 : value.rfind(mark)] if value.rfind(mark) > 0 else value
    return value.split(" #", 1)[0].rstrip()


def _texts(path: Path, parsed: Any) -> dict[str, str]:
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise _unreadable(path, "it is not a mapping of names to values")
    return {str(name): _text(value) for name, value in parsed.items() if value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _unreadable(path: Path, why: str) -> SecretMissing:
    return SecretMissing(f"{path} cannot be read: {why}.", hint='Write it like {"NAME": "value"}.')
