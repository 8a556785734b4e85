"""What a user's environment imports is confined too: a zygote, before its first import."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.engine.local.options import EngineOptions
from penstock.engine.local.orphans import Orphans
from penstock.engine.local.zygote_client import ZygoteClient
from penstock.engine.sandbox import landlock, seccomp
from penstock.engine.sandbox.confinement import Confinement
from penstock.engine.sandbox.options import SandboxOptions

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
    run: Callable[..., None], tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, scratch, secret = tmp_path / "packages", tmp_path / "homes", tmp_path / "secret"
    packages.mkdir()
    scratch.mkdir()
    secret.write_text("not yours")
    text = CURIOUS % (str(scratch), str(secret), str(tmp_path / "written"))
    (packages / "curious.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{packages}:{os.environ.get('PYTHONPATH', '')}")
    options = EngineOptions(zygote_command=(sys.executable, tools.child, "zygote"))
    confinement = Confinement(SandboxOptions(artifacts=(str(tmp_path / "blobs"),)), scratch)

    async def story(_bench: Any) -> None:
        loop = asyncio.get_running_loop()
        zygote = ZygoteClient(loop, options, scratch, Orphans(), confinement.for_zygote())
        try:
            await zygote.warm(("curious",))
        finally:
            await zygote.close()

    run(story)
    said = (scratch / "found").read_text().splitlines()
    assert [line.partition(":")[0] for line in said] == ["stopped"] * 3, said
    assert not (tmp_path / "written").exists()
