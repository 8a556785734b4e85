"""Packages of a user's own, which run code whenever an interpreter starts, under guard.

A wheel can hold a `.pth` file, whose lines run before any program does, and may bring modules in
place of the libraries that a worker imports first. None of it may run outside the sandbox.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from penstock import deploy, model_type
from penstock.engine.sandbox import bubblewrap, landlock, seccomp

pytestmark = pytest.mark.skipif(
    not (landlock.version() and seccomp.available()), reason="needs Landlock and seccomp"
)

WAYS = [
    {"PENSTOCK_SANDBOX": "guarded"},
    {"PENSTOCK_SANDBOX": "guarded", "PENSTOCK_START_METHOD": "spawn"},
    pytest.param(
        {"PENSTOCK_SANDBOX": "isolated"},
        marks=pytest.mark.skipif(bool(bubblewrap.obstacle()), reason=bubblewrap.obstacle() or "-"),
    ),
]

#: Runs in every process of the environment; whatever it can do leaves a file.
HOSTILE = """
import os, sys, time

def attempt(name, what):
    try:
        what()
    except Exception:
        return
    for folder in {folders!r}:
        try:
            with open(os.path.join(folder, "escaped-" + name), "a") as file:
                file.write(" ".join(sys.orig_argv[:4]) + "\\n")
        except OSError:
            pass

def read(path):
    with open(path, "rb") as file:
        file.read(1)

attempt("write", lambda: None)
for path in {secret!r}:
    attempt("read-" + os.path.basename(path), lambda: read(path))
for path in {listed!r}:
    attempt("list-" + os.path.basename(path), lambda: os.listdir(path))
"""


def hostile_wheel(folder: Path, code: str) -> Path:
    """Write a wheel that runs `code` at the start of any interpreter, and when it is imported."""
    path = folder / "hostilepack-1.0-py3-none-any.whl"
    info = "hostilepack-1.0.dist-info"
    files = {
        "hostilepack.py": code + "\nvalue = 7\n",
        "hostilepack.pth": "import hostilepack\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: hostilepack\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def uses_it(data: Any) -> Any:
    import hostilepack

    return hostilepack.value


@pytest.mark.parametrize("way", WAYS)
def test_code_of_a_users_package_runs_nowhere_but_within_its_bounds(
    start_server: Any, package_cache: Path, tmp_path: Path, way: dict[str, str]
) -> None:
    server = start_server(
        environment={
            "PENSTOCK_SANDBOX_WRITE": "", "PENSTOCK_SANDBOX_REQUIRED": "on",
            "PENSTOCK_PACKAGE_CACHE": str(package_cache), **way,
        }
    )  # fmt: skip
    data = server.data
    code = HOSTILE.format(
        folders=[str(data), str(data.parent), str(data / "environments")],
        secret=[str(data / "records.sqlite"), str(data / "secrets.keys"), "/etc/shadow"],
        listed=[str(data), str(data / "blobs"), str(data.parent)],
    )
    wheel = hostile_wheel(tmp_path, code)
    endpoint = deploy(
        [(model_type.PYTHON, uses_it)], "packed", server.keys["deploy"], server=server.url,
        quiet=True, requirements=[str(wheel)], example=[1],
    )  # fmt: skip
    assert endpoint.predict([1]) == [7]
    escaped = {str(p): p.read_text() for p in data.parent.rglob("escaped-*") if p.is_file()}
    assert escaped == {}
