"""The server's options about the environments of versions: interpreters, packages, building.

What these leave open is taken from uv's environment variables, then from pip's configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.server.option import option


@dataclass(frozen=True)
class PackageSettings:
    """Where the interpreters and packages of environments come from, and how they are built."""

    pythons: str = option(
        "Python interpreters that versions may have an environment for: auto looks on PATH, under "
        "pyenv and uv, and beside the server's own; own takes the server's only; or executables "
        "with commas between.",
        "auto",
    )
    package_index: str = option(
        "Address of the package index; empty: that of uv's or pip's configuration, else PyPI.", ""
    )
    package_extra_indexes: str = option(
        "Addresses of further package indexes, with commas between; they come first.", ""
    )
    package_folders: str = option(
        "Folders with wheels, or addresses of pages that link to wheels, with commas between.", ""
    )
    package_index_strategy: str = option(
        "first-index takes a package from the first index that has it, best-match the best version "
        "of all indexes, as pip does; auto: first-index, and best-match for pip's own "
        "configuration.",
        "auto",
        choices=("auto", "first-index", "best-match"),
    )
    package_offline: str = option(
        "Whether environments are built without any network, from folders and cache.",
        "off",
        choices=("on", "off"),
    )
    package_cert: str = option(
        "File with the certificates of authorities to trust for package indexes.", ""
    )
    package_newest: str = option(
        "Take no package that was published after this date, as in 2026-01-31.", ""
    )
    package_builds: str = option(
        "Whether packages without a wheel may be built on the server, which runs their code.",
        "off",
        choices=("on", "off"),
    )
    package_cuda: str = option(
        "Whether environments may hold NVIDIA's libraries; auto: where the machine has a device.",
        "auto",
        choices=("auto", "on", "off"),
    )
    package_link: str = option(
        "How files get from the cache into an environment; auto: hardlink, copy where the disk "
        "cannot.",
        "auto",
        choices=("auto", "hardlink", "clone", "copy"),
    )
    package_cache: str = option(
        "Folder for downloaded and compiled packages; empty: in the data folder. Best on the same "
        "disk.",
        "",
    )
    package_timeout_s: float = option(
        "Seconds that resolving, and that installing an environment may take.",
        1200.0,
        least=1,
        most=86400,
    )
    environment_grace_s: float = option(
        "Seconds that an environment is kept after the last version that used it is gone.",
        86400.0,
        least=0,
        most=365 * 86400,
    )
