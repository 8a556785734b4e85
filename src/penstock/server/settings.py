"""Every option of the server, in one frozen object.

An option is taken from the argument (`penstock serve --port`), else from its environment variable
(`PENSTOCK_PORT`), else from its default. `penstock.cli.serve` calls `load_settings` once; the
documentation is generated from `describe_settings`.
"""

# ruff: noqa: RUF009 - `_option` makes a dataclass field

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from penstock.core.errors import InvalidSetting

MIB = 1024 * 1024
GIB = 1024 * MIB

PREFIX = "PENSTOCK_"


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "penstock"


def _option(
    doc: str,
    default: Any = None,
    *,
    factory: Callable[[], Any] | None = None,
    shown: str | None = None,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    facts = {"doc": doc, "shown": shown, "least": least, "most": most, "choices": choices}
    if factory is not None:
        return field(default_factory=factory, metadata=facts)
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class Settings:
    """The server's options. Units are in the names: bytes, seconds (`_s`)."""

    data_dir: Path = _option(
        "Folder that holds records, files and memory.",
        factory=_default_data_dir,
        shown="~/.local/share/penstock",
    )
    host: str = _option("Address to listen on.", "127.0.0.1")
    port: int = _option("TCP port to listen on; 0 takes a free one.", 8700, least=0, most=65535)
    admin_key: str = _option(
        "Key with admin scope, made known to the server at every start.", "", shown="made up once"
    )
    public_url: str = _option(
        "Address that clients reach the server by, for endpoint URLs; empty: the listening one.", ""
    )
    max_body_bytes: int = _option("Largest predict body.", 64 * MIB, least=1024, most=64 * GIB)
    max_blob_bytes: int = _option("Largest uploaded file.", 16 * GIB, least=1024)
    max_control_body_bytes: int = _option(
        "Largest body of a control request (manifests).", 8 * MIB, least=1024, most=GIB
    )
    header_timeout_s: float = _option(
        "Seconds a client may take to send a request's headers.", 10.0, least=0.1, most=3600
    )
    body_timeout_s: float = _option(
        "Seconds a client may take to send a predict body.", 60.0, least=0.1, most=86400
    )
    idle_timeout_s: float = _option(
        "Seconds an idle kept-alive connection stays open.", 75.0, least=1, most=86400
    )
    drain_s: float = _option(
        "Seconds that calls in hand get to finish when a version or the server stops.",
        30.0,
        least=0,
        most=3600,
    )
    version_idle_s: float = _option(
        "Seconds without a call after which a version that is not the active one is stopped.",
        60.0,
        least=0.05,
        most=86400,
    )
    starts_at_once: int = _option(
        "Versions that are started at the same time when the server starts.", 2, least=1, most=64
    )
    start_method: str = _option(
        "How workers start: fork from a prepared process, spawn afresh, or chosen by platform.",
        "auto",
        choices=("auto", "fork", "spawn"),
    )
    preload: str = _option(
        "Modules to import before the first deploy, with commas between: the first deploy is "
        "quicker, the idle server larger.",
        "",
    )
    log_level: str = _option(
        "Least severe log lines to print.", "info", choices=("debug", "info", "warning", "error")
    )
    memory_value_bytes: int = _option(
        "Largest value that functions may save.", 16 * MIB, least=1024
    )
    memory_total_bytes: int = _option(
        "Most bytes of saved values in one deployment.", 256 * MIB, least=1024
    )
    memory_names: int = _option("Most saved names in one deployment.", 100_000, least=1)


class SettingDoc(NamedTuple):
    """One option as the documentation shows it."""

    name: str
    environment: str
    type: str
    default: str
    doc: str


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
    for option in fields(Settings):
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


def describe_settings() -> list[SettingDoc]:
    """Return every option for the documentation, in the order of `Settings`."""
    out = []
    defaults = Settings()
    for option in fields(Settings):
        shown = option.metadata["shown"]
        default = shown if shown is not None else str(getattr(defaults, option.name))
        choices = option.metadata["choices"]
        doc = option.metadata["doc"] + (f" One of {', '.join(choices)}." if choices else "")
        variable = PREFIX + option.name.upper()
        out.append(SettingDoc(option.name, variable, str(option.type), default, doc))
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
