"""A whole application over real stores, with an engine that answers by itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock.codec.bundle import Blob, Example, Interpreter, Manifest, StageEntry, as_plain
from penstock.core.errors import LoadFailed
from penstock.engine.base import (
    Answer,
    Call,
    Pool,
    PoolHealth,
    ReplicaStatus,
    Scale,
    VersionKey,
    VersionSpec,
)
from penstock.engine.sandbox.state import SandboxState
from penstock.server.settings import Settings
from penstock.wiring.assembly import build_house, open_database
from penstock.wiring.data_folder import DataFolder
from penstock.wiring.house import House

MODEL = b"a model"
EXAMPLE = b"[[1, 2]]"


class EchoPool:
    """Answers every call with its own body as the result."""

    def __init__(self, spec: VersionSpec) -> None:
        self.key: VersionKey = spec.key
        self._calls = 0

    def submit(self, call: Call) -> None:
        self._calls += 1
        call.on_done(call, Answer(body=b'{"result":%b}' % (call.body.data or b"null")))

    def health(self) -> PoolHealth:
        return PoolHealth()

    def keep_waiting(self, wanted: bool) -> None:
        """Nothing dies here."""

    def release(self) -> list[Call]:
        return []

    def scale(self, scale: Scale) -> None:
        """It is one replica, whatever is allowed."""

    def facts(self) -> dict[str, Any]:
        return {"wanted": 1}

    def cancel(self, call: Call) -> None:
        """Every call is answered already."""

    def status(self) -> list[ReplicaStatus]:
        return [ReplicaStatus(1, "ready", 0.0, self._calls, 0)]

    def logs(self) -> list[str]:
        return []

    async def stop(self, drain_s: float) -> None:
        """Nothing runs."""


class EchoEngine:
    """Starts `EchoPool`s, or fails when told to."""

    def __init__(self) -> None:
        self.fail: LoadFailed | None = None
        self.sandbox: SandboxState | None = None

    async def start(self, spec: VersionSpec, on_line: Callable[[str], None] | None = None) -> Pool:
        if self.fail is not None:
            raise self.fail
        return EchoPool(spec)

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Nothing is imported."""

    async def close(self, drain_s: float) -> None:
        """Nothing runs."""


class Site:
    """An application and a way to call it; `keys` are those of a fresh server."""

    def __init__(self, house: House, engine: EchoEngine, keys: dict[str, str]) -> None:
        self.house = house
        self.engine = engine
        self.keys = keys
        self.example = {"media_type": "application/json", "body": blob(EXAMPLE, "example")}
        self.http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=house.app), base_url="http://here"
        )

    async def call(self, method: str, path: str, key: str = "deploy", **more: Any) -> Any:
        headers = {**({"Authorization": self.keys[key]} if key else {}), **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    def manifest(self) -> dict[str, Any]:
        stage = StageEntry("torch", Blob(**blob(MODEL, "model.pt")))
        example = Example("application/json", Blob(**blob(EXAMPLE, "example")))
        found = as_plain(Manifest(Interpreter.current(), [stage], example=example))
        assert isinstance(found, dict)
        return found

    async def deploy(self, name: str = "flow", **body: Any) -> list[dict[str, Any]]:
        for data in (MODEL, EXAMPLE):
            path = f"/v1/default/blobs/{hashlib.sha256(data).hexdigest()}"
            assert (await self.call("PUT", path, content=data)).status_code == 201
        fields = {"manifest": self.manifest(), **body}
        answer = await self.call("POST", f"/v1/default/{name}/versions", json=fields)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines() if line]


def blob(data: bytes, name: str) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


@pytest.fixture
def on_site(tmp_path: Path) -> Callable[..., None]:
    """Run `story(site)` on a fresh site; further arguments are server settings."""

    def run(story: Callable[[Site], Awaitable[None]], **options: Any) -> None:
        async def play() -> None:
            settings = Settings(data_dir=tmp_path / "data", **options)
            with DataFolder(settings.data_dir) as folder:
                database = await open_database(settings, folder)
                engine = EchoEngine()
                house = await build_house(
                    settings, folder, database, "http://here", lambda *_: engine
                )
                first = await house.parts.keys.bootstrap()
                assert first is not None
                assert first.admin is not None
                keys = {"admin": first.admin.text, "deploy": first.private.text}
                site = Site(house, engine, {**keys, "predict": first.public.text})
                try:
                    await story(site)
                finally:
                    await site.http.aclose()
                    await house.close(0.0)

        asyncio.run(asyncio.wait_for(play(), 60))

    return run
