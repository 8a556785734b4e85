"""Where packages come from: the server's settings, else uv's variables, else pip's configuration.

`Sources` is made once by `penstock.wiring`; `penstock.environments.uv` turns it into what uv reads.
Addresses may hold passwords, so they are handed over in the environment, never as arguments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from penstock.environments.pip_config import read_pip_config

FIRST, BEST = "first-index", "unsafe-best-match"

#: Variables that uv reads for each thing, which then is not taken from pip's configuration.
_OF_UV = {
    "index": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra_indexes": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "folders": ("UV_FIND_LINKS",),
    "cert": ("SSL_CERT_FILE",),
    "timeout_s": ("UV_HTTP_TIMEOUT",),
}


@dataclass(frozen=True)
class Sources:
    """Where packages come from.

    Attributes:
        index: Address of the index; empty for PyPI.
        extra_indexes: Addresses of further indexes.
        folders: Folders, or addresses of pages, with wheels.
        no_index: Take wheels from `folders` only.
        offline: Use no network at all.
        cert: File with the certificates to trust.
        insecure_hosts: Hosts whose certificate is not checked.
        strategy: `first-index` takes a package from the first index that has it; with
            `unsafe-best-match` all indexes are one, as with pip.
        newest: Take no file that was published after this date.
        builds: Whether packages without a wheel may be built, which runs their code.
        timeout_s: Seconds that one request may take; 0 leaves it to uv.
        proxy: Proxy for https and http; empty leaves it to the environment.
    """

    index: str = ""
    extra_indexes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    no_index: bool = False
    offline: bool = False
    cert: str = ""
    insecure_hosts: tuple[str, ...] = ()
    strategy: str = FIRST
    newest: str = ""
    builds: bool = False
    timeout_s: float = 0.0
    proxy: str = ""

    def arguments(self) -> list[str]:
        """Return what uv is told as arguments."""
        found = ["--index-strategy", self.strategy]
        found += [] if self.builds else ["--no-build"]
        found += ["--no-index"] if self.no_index else []
        found += ["--offline"] if self.offline else []
        found += ["--exclude-newer", self.newest] if self.newest else []
        for host in self.insecure_hosts:
            found += ["--allow-insecure-host", host]
        return found

    def variables(self) -> dict[str, str]:
        """Return what uv is told as environment variables."""
        values = {
            "UV_DEFAULT_INDEX": self.index,
            "UV_INDEX": " ".join(self.extra_indexes),
            "UV_FIND_LINKS": ",".join(self.folders),
            "SSL_CERT_FILE": self.cert,
            "UV_HTTP_TIMEOUT": f"{self.timeout_s:.0f}" if self.timeout_s else "",
            "HTTPS_PROXY": self.proxy,
            "HTTP_PROXY": self.proxy,
        }
        return {name: value for name, value in values.items() if value}

    def fingerprint(self) -> list[str]:
        """Return what decides which versions are found, without passwords."""
        places = [self.index, *self.extra_indexes, *self.folders]
        return [*map(without_password, places), self.strategy, self.newest, str(self.no_index)]


def without_password(address: str) -> str:
    """Return an address without name and password."""
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def with_pip_config(
    given: Sources,
    *,
    strategy: str = "auto",
    environ: Mapping[str, str] | None = None,
    pip: Mapping[str, str] | None = None,
) -> Sources:
    """Return `given` with what it leaves open filled in from pip's configuration.

    Args:
        given: What the server's settings say.
        strategy: `auto`, or one of `Sources.strategy`. With `auto` the indexes of the settings are
            asked in order, and those of pip's configuration are taken as pip takes them.
        environ: Environment variables; `os.environ` by default.
        pip: pip's configuration; read from this machine by default.
    """
    environ = os.environ if environ is None else environ
    pip = read_pip_config(environ) if pip is None else pip

    def of_pip(field: str, option: str) -> str:
        if getattr(given, field) or any(environ.get(name) for name in _OF_UV.get(field, ())):
            return ""
        return pip.get(option, "")

    index = of_pip("index", "index-url")
    extra = tuple(of_pip("extra_indexes", "extra-index-url").split())
    folders = tuple(map(_expanded, of_pip("folders", "find-links").split()))
    no_index = pip.get("no-index", "").lower() in {"1", "true", "yes", "on"} and not given.index
    chosen = strategy
    if strategy == "auto":
        chosen = BEST if (index or extra) and not given.extra_indexes else FIRST
    return Sources(
        index=given.index or index,
        extra_indexes=given.extra_indexes or extra,
        folders=tuple(map(_expanded, given.folders)) or folders,
        no_index=given.no_index or no_index,
        offline=given.offline,
        cert=given.cert or of_pip("cert", "cert"),
        insecure_hosts=given.insecure_hosts or tuple(pip.get("trusted-host", "").split()),
        strategy=chosen,
        newest=given.newest,
        builds=given.builds,
        timeout_s=given.timeout_s or _seconds(of_pip("timeout_s", "timeout"), pip),
        proxy=given.proxy or pip.get("proxy", ""),
    )


def _seconds(text: str, pip: Mapping[str, str]) -> float:
    try:
        return float(text or pip.get("default-timeout", "") or 0)
    except ValueError:
        return 0.0


def _expanded(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser())
