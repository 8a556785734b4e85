"""A wheel with the hot path compiled: what is in it, and that it serves like the source does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from compiled_modules import ROOT, compiled_modules
from run_faults import put

#: Tests of bytes, orders and crashes, run once more over the compiled form.
AGAIN = (
    "tests/integration/http",
    "tests/integration/test_gateways.py",
    "tests/integration/test_worker_kills.py",
    "tests/integration/test_functions_that_wait.py",
    "tests/acceptance/test_files.py",
)

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc) is installed"),
    pytest.mark.skipif(
        not Path(sysconfig.get_path("include"), "Python.h").exists(),
        reason="the headers of this Python are not installed (Debian: python3-dev)",
    ),
]


def build(folder: Path, **environment: str) -> Path:
    """Build a wheel of the checkout into `folder`."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    env = {**os.environ, **environment}
    done = subprocess.run(
        command, capture_output=True, text=True, env=env, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("compiled"), PENSTOCK_COMPILE="1")


@pytest.fixture(scope="module")
def environment(wheel: Path) -> dict[str, str]:
    """Variables of a process that imports the compiled package in place of the checkout's."""
    folder = wheel.parent / "package"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return {**kept, "PYTHONPATH": str(folder)}


def test_a_wheel_is_for_every_python_unless_compiling_is_asked_for(tmp_path: Path) -> None:
    assert build(tmp_path, PENSTOCK_COMPILE="").name.endswith("-py3-none-any.whl")


def test_each_module_that_is_named_is_in_the_wheel_in_both_forms(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
    named = compiled_modules()
    assert compiled == {name.replace(".", "/") for name in named} | {"penstock/compiled__mypyc"}
    assert {f"{name.replace('.', '/')}.py" for name in named} <= names
    assert f"cp{sys.version_info[0]}{sys.version_info[1]}" in wheel.name


def test_it_is_compiled_with_what_the_tests_install() -> None:
    locked = (ROOT / "requirements" / "locked.txt").read_text().splitlines()
    (pinned,) = re.findall(r'"(mypy==[\d.]+)"', (ROOT / "hatch_build.py").read_text())
    assert pinned in locked


def test_the_doctor_says_which_form_runs(environment: dict[str, str]) -> None:
    code = "from penstock.wiring import machine_checks as m; print(*m.examine_machine())"
    for path, form in ((environment["PYTHONPATH"], "compiled"), ("", "interpreted")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**environment, "PYTHONPATH": path},
            timeout=120,
            check=True,
        )
        assert f"The hot path is {form}." in done.stdout


def test_the_server_and_the_processes_it_starts_load_it(
    environment: dict[str, str], start_server: Callable[..., Any]
) -> None:
    """So the tests below are of compiled code, also where they start servers."""
    live = start_server(environment={"PYTHONPATH": environment["PYTHONPATH"]})
    put(live)
    # A worker is forked from the zygote, which the server starts.
    processes = [psutil.Process(live.pid), *psutil.Process(live.pid).children()]
    assert len(processes) > 1
    for process in processes:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert f"{environment['PYTHONPATH']}/penstock/compiled__mypyc" in maps, process.name()


def test_http_orders_and_crashes_are_the_same_with_it(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, *AGAIN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
