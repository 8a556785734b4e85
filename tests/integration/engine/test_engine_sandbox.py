"""What a user's environment imports is confined too: a zygote, before it is that program."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.engine.base import Environment
from penstock.engine.local import home
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.orphans import Orphans
from penstock.engine.local.zygote_client import ZygoteClient
from penstock.engine.sandbox import landlock, seccomp
from penstock.engine.sandbox.confinement import Confinement
from penstock.engine.sandbox.options import SandboxOptions
from penstock.environments.runtime import BOOT

pytestmark = pytest.mark.skipif(
    not (landlock.version() and seccomp.available()), reason="needs Landlock and seccomp"
)

#: A package that looks around while it is imported, and tells in the one place it may write.
CURIOUS = """
import os
def can(what):
    try:
        what()
    except OSError as error:
        return f"stopped: {error.strerror}"
    return "open"
with open(os.path.join(%r, "found"), "w") as out:
    for what in (
        lambda: open(%r).read(),
        lambda: open(%r, "w"),
        lambda: os.kill(os.getppid(), 0),
    ):
        print(can(what), file=out)
"""


def test_a_package_that_is_imported_by_a_zygote_reaches_nothing(
    run: Callable[..., None], tmp_path: Path
) -> None:
    packages, scratch, secret = tmp_path / "packages", tmp_path / "own", tmp_path / "secret"
    packages.mkdir()
    scratch.mkdir()
    secret.write_text("not yours")
    path = [str(packages), *(p for p in sys.path if p and Path(p).exists())]
    start = f"import sys; sys.path[:] = {path!r}; {BOOT}"
    environment = Environment("k", Path(sys.executable), Path(penstock.__file__).parents[1], start)
    homes, files = home.places(scratch, environment)
    text = CURIOUS % (str(homes), str(secret), str(tmp_path / "written"))
    (packages / "curious.py").write_text(text)
    confinement = Confinement(SandboxOptions(read=tuple(path)), scratch)
    sandbox = confinement.for_environment(homes, files)

    async def story(_bench: Any) -> None:
        loop = asyncio.get_running_loop()
        options = EngineOptions()
        zygote = ZygoteClient(loop, options, scratch, Orphans(), sandbox, environment)
        try:
            await zygote.warm(("curious",))
        finally:
            await zygote.close()

    run(story)
    said = (homes / "found").read_text().splitlines()
    assert [line.partition(":")[0] for line in said] == ["stopped"] * 3, said
    assert not (tmp_path / "written").exists()
