"""Reads the settings: the argument, else the environment, else the default.

`penstock.cli.serve` calls `load_settings` once; the documentation is generated from
`describe_settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NamedTuple

from penstock.core.errors import InvalidSetting
from penstock.server.memory_settings import MemorySettings
from penstock.server.package_settings import PackageSettings
from penstock.server.settings import PREFIX, Settings


class SettingDoc(NamedTuple):
    """One option as the documentation and the command line show it.

    `flag` is empty for an option that only the environment may give.
    """

    name: str
    environment: str
    type: str
    default: str
    doc: str
    flag: str


def load_settings(
    arguments: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings: argument, else environment, else default.

    Args:
        arguments: Option name to value; None values count as not given.
        environ: Environment variables; `os.environ` by default.

    Raises:
        InvalidSetting: A value is of the wrong kind or out of range; the message names where it
            came from.
    """
    given = {k: v for k, v in (arguments or {}).items() if v is not None}
    environ = os.environ if environ is None else environ
    taken: dict[str, Any] = {}
    for option in _options():
        variable = PREFIX + option.name.upper()
        if option.name in given:
            where, value = f"the option {option.name}", given.pop(option.name)
        elif environ.get(variable):
            where, value = f"the environment variable {variable}", environ[variable]
        else:
            continue
        taken[option.name] = _convert(where, str(option.type), value, option.metadata)
    if given:
        raise InvalidSetting(f"There is no option {min(given)!r}.")
    return Settings(**taken)


def _options() -> list[Field[Any]]:
    """Return the options, those of `Settings` itself first."""
    groups = [[f.name for f in fields(group)] for group in (MemorySettings, PackageSettings)]

    def place(option: Field[Any]) -> int:
        return next((at for at, names in enumerate(groups, 1) if option.name in names), 0)

    return sorted(fields(Settings), key=place)


def describe_settings() -> list[SettingDoc]:
    """Return every option for the documentation, in the order of `Settings`."""
    out = []
    defaults = Settings()
    for option in _options():
        shown = option.metadata["shown"]
        default = shown if shown is not None else str(getattr(defaults, option.name))
        choices = option.metadata["choices"]
        doc = option.metadata["doc"] + (f" One of {', '.join(choices)}." if choices else "")
        variable = PREFIX + option.name.upper()
        flag = "" if option.metadata["secret"] else "--" + option.name.replace("_", "-")
        out.append(SettingDoc(option.name, variable, str(option.type), default, doc, flag))
    return out


def _convert(where: str, kind: str, value: object, facts: Mapping[str, Any]) -> Any:
    if kind == "Path":
        return Path(str(value)).expanduser().absolute()
    if kind == "str":
        text = str(value)
        if facts["choices"] and text not in facts["choices"]:
            raise InvalidSetting(
                f"{where} is {text!r}; it must be one of {', '.join(facts['choices'])}."
            )
        return text
    try:
        number = int(str(value)) if kind == "int" else float(str(value))
    except ValueError:
        wanted = "a whole number" if kind == "int" else "a number"
        raise InvalidSetting(f"{where} is {value!r}; it must be {wanted}.") from None
    least, most = facts["least"], facts["most"]
    if not (least is None or number >= least) or not (most is None or number <= most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidSetting(f"{where} is {number}; it must be {bounds}.")
    return number
