"""Runs the programs in `users/`: as their authors run them, with a server and keys around them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from penstock import Endpoint, PenstockError, deploy

USERS = Path(__file__).parent / "users"
PROGRAM_S = 180


@dataclass(frozen=True)
class Programs:
    """Runs programs in a folder of their own.

    Attributes:
        folder: Their working directory.
        server: The server they deploy on.
    """

    folder: Path
    server: Any

    def environment(self) -> dict[str, str]:
        """Return what the programs find in their environment: where the server is, and keys."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        return {
            **clean,
            "PENSTOCK_SERVER": self.server.url,
            "PENSTOCK_PROFILE": str(self.folder / "profile.json"),
            "PRIVATE_KEY": self.server.keys["deploy"],
            "PUBLIC_KEY": self.server.keys["predict"],
            "CEREBRIUMAI_API_KEY": self.server.keys["predict"],
            "PYTHONIOENCODING": "utf-8",
        }

    def run(self, program: str, *arguments: Any, status: int = 0, **changes: str | None) -> str:
        """Return what a program printed; `changes` are to its environment, None takes away."""
        environment = {**self.environment(), **changes}
        done = subprocess.run(
            [sys.executable, USERS / f"{program}.py", *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PROGRAM_S,
            check=False,
            env={k: v for k, v in environment.items() if v is not None},
        )
        shown = done.stdout + done.stderr
        assert done.returncode == status, shown
        return shown


@pytest.fixture
def programs(tmp_path: Path, server: Any) -> Programs:
    return Programs(tmp_path, server)


@pytest.fixture
def put(server: Any) -> Iterator[Callable[..., Endpoint]]:
    """Deploy what a client program calls; deleted after the test."""
    made = []

    def act(flow: Any, name: str) -> Endpoint:
        made.append(deploy(flow, name, server.keys["deploy"], server=server.url, quiet=True))
        return made[-1]

    yield act
    for endpoint in made:
        with contextlib.suppress(PenstockError):
            endpoint.delete()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a small model: `tiny("text_generator")`; made on first use."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target = tmp_path_factory.mktemp("tiny") / kind
                made[kind] = getattr(tiny_models, kind)(target)
        return made[kind]

    return folder
