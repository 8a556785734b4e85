"""Deploying, rolling back and restarting, with real stores and an engine that does as told."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.codec.bundle import (
    Blob,
    Example,
    FunctionEntry,
    Imported,
    Interpreter,
    Manifest,
    StageEntry,
    write_manifest,
)
from penstock.control import deploy_failures, serving
from penstock.control.builds import Builds
from penstock.control.database import Database
from penstock.control.deployments import Deployments
from penstock.control.deploys import Deploys
from penstock.control.environments import Environments, Rules
from penstock.control.events import DeployEvent, FailedEvent, LogEvent, ReadyEvent, StepEvent
from penstock.control.pools import Pools
from penstock.control.predict import Predictor, predict_path
from penstock.control.remains import Remains
from penstock.control.secrets import Secrets
from penstock.control.serving import Serving
from penstock.control.storage import Storage
from penstock.control.versions import Versions
from penstock.core.errors import (
    BlobMissing,
    Conflict,
    DiskFull,
    ExampleFailed,
    InterpreterMismatch,
    InvalidManifest,
    InvalidName,
    InvalidSetting,
    LoadFailed,
    MissingImports,
    NotFound,
    NotReady,
    StoreError,
)
from penstock.core.records import KeyRecord, ProjectRecord, Scope, VersionSettings
from penstock.core.states import DeploymentState, VersionState
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
from penstock.environments.builder import Builder, Ways
from penstock.environments.pythons import own
from penstock.environments.shelf import Shelf
from penstock.environments.sources import Sources
from penstock.environments.uv import Uv
from penstock.stores.base import MemoryWrite
from penstock.stores.build_logs import BuildLogFiles
from penstock.stores.files import FileBlobs
from penstock.stores.keyring import Keyring
from penstock.stores.sqlite_memory import SqliteMemory
from penstock.stores.sqlite_records import SqliteRecords

MODEL = b"a model"
EXAMPLE = b"[[1, 2]]"
ADMIN = KeyRecord("k", b"", "pk_a_1", Scope.ADMIN, None, "", 0.0)


class FakePool:
    """Answers every call at once; counts what happens to it."""

    def __init__(self, spec: VersionSpec) -> None:
        self.spec = spec
        self.calls = 0
        self.stopped = False
        self.scales: list[Scale] = []
        self.answer = Answer(body=b'{"result": [1]}')

    @property
    def key(self) -> VersionKey:
        return self.spec.key

    def submit(self, call: Call) -> None:
        self.calls += 1
        call.on_done(call, self.answer)

    def cancel(self, call: Call) -> None:
        raise AssertionError("nothing is cancelled here")

    def status(self) -> list[ReplicaStatus]:
        return [ReplicaStatus(1, "ready", 0.0, self.calls, 0)]

    def health(self) -> PoolHealth:
        return PoolHealth()

    def logs(self) -> list[str]:
        return ["loading", "loaded"]

    def scale(self, scale: Scale) -> None:
        self.scales.append(scale)

    def facts(self) -> dict[str, Any]:
        return {"wanted": self.spec.replicas, "why": "told so"}

    async def stop(self, drain_s: float) -> None:
        self.stopped = True


class FakeEngine:
    """Starts `FakePool`s; `fail` and `hold` decide what happens to the next starts."""

    def __init__(self) -> None:
        self.pools: list[FakePool] = []
        self.fail: Exception | None = None
        self.bad_example = False
        self.hold: asyncio.Event | None = None
        self.started = asyncio.Event()

    async def start(self, spec: VersionSpec, on_line: Callable[[str], None] | None = None) -> Pool:
        self.started.set()
        if on_line is not None:
            on_line("loading")
        if self.hold is not None:
            await self.hold.wait()
        if self.fail is not None:
            raise self.fail
        pool = FakePool(spec)
        if self.bad_example:
            error = {"code": "function_failed", "message": "pre raised KeyError.", "stage": 1}
            body = json.dumps({"error": {**error, "function": "pre"}, "run_id": "x"}).encode()
            pool.answer = Answer("function_failed", body=body)
        self.pools.append(pool)
        return pool

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Nothing is imported here."""

    async def close(self, drain_s: float) -> None:
        """Nothing runs here."""


class House:
    """The control part of a server, with everything real but the engine."""

    def __init__(
        self, database: Database, blobs: FileBlobs, engine: FakeEngine, folder: Path
    ) -> None:
        uv = Uv(Sources(), folder / "cache", 60.0)
        builder = Builder(
            Shelf(folder / "environments").prepare(),
            uv,
            [own()],
            folder / "compiled",
            Ways(),
            lambda program, _folder, _places: program,
        )
        environments = Environments(builder, [own()], database, blobs, Rules())
        self.database = database
        self.blobs = blobs
        self.engine = engine
        self.predictor = Predictor(lambda _raw: ADMIN)
        self.secrets = Secrets(database, Keyring(folder / "secrets.keys"))
        self.pools = Pools(
            engine,
            blobs,
            {"torch": ["json"]},
            idle_s=0.05,
            drain_s=1.0,
            secrets=self.secrets,
            gpu_types=frozenset({"torch"}),
        )
        self.serving = Serving(database, self.pools, self.predictor)
        self.builds = Builds(BuildLogFiles(folder / "builds"))
        self.remains = Remains(database, self.builds)
        storage = Storage(database, 0)
        self.deploys = Deploys(
            database,
            self.serving,
            blobs,
            environments,
            endpoint_of,
            self.builds,
            self.secrets,
            storage,
            self.remains.clear_before_first,
        )
        self.versions = Versions(database, self.serving, blobs)
        self.deployments = Deployments(
            database, self.serving, endpoint_of, self.remains, starts_at_once=2
        )

    async def deploy(self, manifest: Manifest | None = None, **options: Any) -> list[DeployEvent]:
        """Deploy to `default/flow` and return the events; raises what the deploy raises."""
        events: list[DeployEvent] = []
        candidate = await self.deploys.admit(
            "default",
            options.pop("name", "flow"),
            write_manifest(manifest or make_manifest()),
            options.pop("settings", VersionSettings()),
            "a-key",
        )
        try:
            await self.deploys.begin(candidate, events.append, **options)
        except Exception as error:
            error.events = events  # type: ignore[attr-defined]
            raise
        return events

    async def save(self, value: bytes) -> None:
        """Save `x` as a function of `default/flow` does."""
        memory, writes = self.database.memory, [MemoryWrite("x", value)]
        await self.database.call_memory(memory.publish, ("default", "flow"), writes, 1.0)

    async def saved(self) -> bytes | None:
        """Return `x` as a function of `default/flow` gets it."""
        memory = self.database.memory
        item = await self.database.call_memory(memory.read, ("default", "flow"), "x", 2.0)
        return None if item is None else item.value

    def route(self, number: int | None = None) -> Any:
        route = self.predictor.routes.get(predict_path("default", "flow", number))
        return route.pool if route is not None else None

    async def close(self) -> None:
        await self.deployments.close()
        await self.deploys.close()
        await self.pools.close(1.0)
        await self.database.close()


def endpoint_of(project: str, name: str) -> str:
    return f"http://here/v1/{project}/{name}/predict"


@asynccontextmanager
async def house(folder: Path, engine: FakeEngine | None = None) -> AsyncIterator[House]:
    database = await Database.open(
        lambda: SqliteRecords(folder / "records.sqlite"),
        lambda: SqliteMemory(folder / "memory.sqlite"),
    )
    if await database.call(database.records.get_project, "default") is None:
        await database.call(database.records.add_project, ProjectRecord("default", 0.0))
    blobs = FileBlobs(folder / "blobs")
    for data in (MODEL, EXAMPLE):
        put(blobs, data)
    made = House(database, blobs, engine or FakeEngine(), folder)
    try:
        yield made
    finally:
        await made.close()


def put(blobs: FileBlobs, data: bytes) -> None:
    writer = blobs.begin(hashlib.sha256(data).hexdigest())
    writer.write(data)
    writer.commit()


def blob(data: bytes, name: str = "model.pt") -> Blob:
    return Blob(name, hashlib.sha256(data).hexdigest(), len(data))


def make_manifest(
    *,
    example: bool = False,
    interpreter: Interpreter | None = None,
    imports: list[Imported] | None = None,
    model: bytes = MODEL,
    model_type: str = "torch",
) -> Manifest:
    pre = None
    if imports is not None:
        pre = FunctionEntry("pre", 1, blob(MODEL, "pre.pickle"), imports=imports)
    return Manifest(
        interpreter=interpreter or Interpreter.current(),
        stages=[StageEntry(model_type, blob(model), pre=pre)],
        example=Example("application/json", blob(EXAMPLE, "example")) if example else None,
    )


def run(folder: Path, story: Callable[[House], Any], engine: FakeEngine | None = None) -> None:
    async def play() -> None:
        async with house(folder, engine) as made:
            await story(made)

    asyncio.run(asyncio.wait_for(play(), 20))


async def soon(holds: Callable[[], bool]) -> None:
    """Wait until `holds()`; the test's own time limit ends the wait."""
    while not holds():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.005)


def test_a_first_deploy_is_version_1_and_serves(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        events = await made.deploy(make_manifest(example=True))
        last = events[-1]
        assert isinstance(last, ReadyEvent)
        assert (last.version.number, last.version.active) == (1, True)
        assert last.endpoint == endpoint_of("default", "flow")
        steps = [e.name for e in events if isinstance(e, StepEvent)]
        assert steps == ["recorded", "loading", "example", "activating"]
        assert [e.line for e in events if isinstance(e, LogEvent)] == ["loading"]
        assert made.route() is made.engine.pools[0]
        assert made.engine.pools[0].calls == 1
        assert made.engine.pools[0].spec.preload == ("json",)

    run(tmp_path, story)


def test_the_next_deploy_takes_over_and_the_old_pool_drains(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.deploy()
        first, second = made.engine.pools
        assert made.route() is second
        await soon(lambda: first.stopped)
        assert not second.stopped
        found = await made.deployments.get("default", "flow")
        assert (found.state, found.active) == (DeploymentState.ACTIVE, 2)
        assert [v.number for v in found.versions] == [2, 1]

    run(tmp_path, story)


def test_two_deploys_at_the_same_time_become_versions_1_and_2(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        made.engine.hold = asyncio.Event()
        both = [asyncio.create_task(made.deploy()) for _ in range(2)]
        await made.engine.started.wait()
        made.engine.hold.set()
        results = await asyncio.gather(*both)
        numbers = sorted(events[-1].version.number for events in results)
        assert numbers == [1, 2]
        assert made.route().key.number == 2

    run(tmp_path, story)


def test_a_version_that_does_not_load_leaves_the_old_one_serving(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        made.engine.fail = LoadFailed("Stage 1 is no model.", stage=1, logs=["boom"])
        with pytest.raises(LoadFailed) as caught:
            await made.deploy()
        last = caught.value.events[-1]  # type: ignore[attr-defined]
        assert isinstance(last, FailedEvent)
        assert (last.error["code"], last.error["stage"], last.logs) == ("load_failed", 1, ["boom"])
        assert made.route() is made.engine.pools[0]
        assert not made.engine.pools[0].stopped
        failed = await made.versions.get("default", "flow", 2)
        assert failed.state is VersionState.FAILED
        assert failed.failure is not None
        assert failed.failure["message"] == "Stage 1 is no model."

    run(tmp_path, story)


def test_a_version_that_failed_while_the_disk_was_full_is_marked_when_there_is_room(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(deploy_failures, "MARK_RETRY_S", 0.01)

    async def story(made: House) -> None:
        marks, full = made.database.records.set_version_state, [DiskFull("No room.")] * 2

        def mark(*args: Any, **more: Any) -> Any:
            if full:
                raise full.pop()
            return marks(*args, **more)

        monkeypatch.setattr(made.database.records, "set_version_state", mark)
        made.engine.fail = LoadFailed("model.pt is bad.")
        with pytest.raises(LoadFailed, match=r"model\.pt is bad"):
            await made.deploy()
        found = None
        while found is not VersionState.FAILED:
            (version,) = (await made.deployments.get("default", "flow")).versions
            found = version.state
        assert "model.pt is bad" in str(version.failure)

    run(tmp_path, story)


def test_a_version_that_fails_its_example_never_serves(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        made.engine.bad_example = True
        with pytest.raises(ExampleFailed, match="pre raised KeyError") as caught:
            await made.deploy(make_manifest(example=True))
        assert (caught.value.stage, caught.value.function) == (1, "pre")
        assert caught.value.events[-1].logs == ["loading", "loaded"]  # type: ignore[attr-defined]
        assert made.route() is made.engine.pools[0]
        await soon(lambda: made.engine.pools[1].stopped)

    run(tmp_path, story)


def test_a_deploy_goes_on_when_nobody_listens(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        made.engine.hold = asyncio.Event()
        raw = write_manifest(make_manifest())
        candidate = await made.deploys.admit("default", "flow", raw, VersionSettings(), "a-key")
        made.deploys.begin(candidate, lambda _event: None)
        await made.engine.started.wait()
        made.engine.hold.set()
        await soon(lambda: made.route() is not None)

    run(tmp_path, story)


def test_a_version_may_be_deployed_without_activating_it(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        events = await made.deploy(activate=False)
        assert not events[-1].version.active
        assert made.route() is made.engine.pools[0]
        await soon(lambda: made.engine.pools[1].stopped)

    run(tmp_path, story)


def test_rolling_back_starts_the_old_version_before_it_flips(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.deploy()
        view = await made.versions.activate("default", "flow", 1)
        assert view.active
        assert made.route() is made.engine.pools[2]
        assert made.route().key.number == 1
        await soon(lambda: made.engine.pools[1].stopped)

    run(tmp_path, story)


@asynccontextmanager
async def deploying(made: House) -> AsyncIterator[asyncio.Task[list[DeployEvent]]]:
    """A deploy that is loading its version until the block ends."""
    hold = made.engine.hold = asyncio.Event()
    made.engine.started.clear()
    deploy = asyncio.create_task(made.deploy())
    await made.engine.started.wait()
    made.engine.hold = None
    try:
        yield deploy
    finally:
        hold.set()


def test_an_earlier_version_is_activated_at_once_while_another_is_being_deployed(
    tmp_path: Path,
) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.deploy()
        async with deploying(made) as deploy:
            await made.versions.activate("default", "flow", 1)
            assert made.route().key.number == 1
        await deploy
        assert made.route().key.number == 3

    run(tmp_path, story)


def test_a_deployment_is_deleted_at_once_and_its_deploy_given_up(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        async with deploying(made) as deploy:
            await made.deployments.delete("default", "flow")
            assert made.route() is None
        with pytest.raises(Conflict, match="deleted while its version 2 was being deployed"):
            await deploy
        assert made.route() is None
        assert not made.pools.running()
        await made.deploy()
        assert made.route().key.number == 3

    run(tmp_path, story)


def test_a_deployment_deleted_while_the_example_runs_is_not_served_again(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        try_example = made.deploys._preparation._try_example

        async def delete_and_try(*args: Any) -> None:
            await made.deployments.delete("default", "flow")
            await try_example(*args)

        made.deploys._preparation._try_example = delete_and_try  # type: ignore[method-assign]
        with pytest.raises(Conflict, match="deleted while its version 1 was being deployed"):
            await made.deploy(make_manifest(example=True))
        assert made.route() is None
        await soon(lambda: made.engine.pools[0].stopped)

    run(tmp_path, story)


def test_a_disk_without_room_for_workers_is_named_and_the_version_before_serves_on(
    tmp_path: Path,
) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.deploy()
        made.engine.fail = OSError(errno.ENOSPC, "No space left on device", "homes/flow-1")
        with pytest.raises(DiskFull, match="homes/flow-1 failed: No space left"):
            await made.versions.activate("default", "flow", 1)
        assert made.route().key.number == 2

    run(tmp_path, story)


def test_a_failed_version_cannot_be_activated(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        made.engine.fail = LoadFailed("no")
        with pytest.raises(LoadFailed):
            await made.deploy()
        with pytest.raises(Conflict, match="failed: no"):
            await made.versions.activate("default", "flow", 1)
        with pytest.raises(NotFound):
            await made.versions.activate("default", "flow", 7)

    run(tmp_path, story)


def test_a_version_called_by_number_runs_for_a_while_only(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.deploy()
        await made.versions.wake("default", "flow", 1)
        woken = made.engine.pools[2]
        assert made.route(1) is woken
        assert made.route().key.number == 2
        await soon(lambda: woken.stopped)
        assert made.route(1) is None

    run(tmp_path, story)


def test_the_active_version_cannot_be_deleted_but_others_can(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.deploy()
        with pytest.raises(Conflict, match="active"):
            await made.versions.delete("default", "flow", 2)
        await made.versions.delete("default", "flow", 1)
        found = await made.deployments.get("default", "flow")
        assert [v.number for v in found.versions] == [2]
        with pytest.raises(NotFound):
            await made.versions.get("default", "flow", 1)

    run(tmp_path, story)


def test_deleting_a_deployment_takes_its_route_and_drains_it(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.deployments.delete("default", "flow")
        assert made.route() is None
        await soon(lambda: made.engine.pools[0].stopped)
        with pytest.raises(NotFound):
            await made.deployments.get("default", "flow")

    run(tmp_path, story)


def test_a_deployment_that_cannot_be_deleted_serves_on(tmp_path: Path, monkeypatch: Any) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        full = DiskFull("The disk is full.")

        def refuse(_project: str, _name: str) -> bool:
            raise full

        with monkeypatch.context() as patch:
            patch.setattr(made.database.records, "delete_deployment", refuse)
            with pytest.raises(DiskFull):
                await made.deployments.delete("default", "flow")
        assert made.route() is made.engine.pools[0]
        found = await made.deployments.get("default", "flow")
        assert found.state is DeploymentState.ACTIVE
        await made.deployments.delete("default", "flow")
        assert made.route() is None

    run(tmp_path, story)


def refuse_to_clear(_namespace: tuple[str, str]) -> None:
    raise DiskFull("The disk is full.")


def test_what_a_delete_could_not_clear_is_cleared_before_its_name_is_used_again(
    tmp_path: Path, monkeypatch: Any
) -> None:
    told: list[tuple[str, str, int]] = []

    async def tell(*what: Any) -> None:
        told.append(what)

    async def story(made: House) -> None:
        made.remains.on_delete.append(tell)
        await made.deploy()
        await made.deploy()
        await made.save(b"old")
        with monkeypatch.context() as patch:
            patch.setattr(made.database.memory, "clear", refuse_to_clear)
            with pytest.raises(DiskFull):
                await made.deployments.delete("default", "flow")
        assert made.route() is None
        assert await made.saved() == b"old"
        assert await made.builds.get("default", "flow", 1) is None
        assert told == [("default", "flow", 2)]
        events = await made.deploy()
        assert events[-1].version.number == 3
        assert await made.saved() is None
        assert told == [("default", "flow", 2)] * 2

    run(tmp_path, story)


def test_a_name_is_not_used_again_before_its_old_values_can_be_cleared(
    tmp_path: Path, monkeypatch: Any
) -> None:
    async def story(made: House) -> None:
        await made.deploy()
        await made.save(b"old")
        with monkeypatch.context() as patch:
            patch.setattr(made.database.memory, "clear", refuse_to_clear)
            with pytest.raises(DiskFull):
                await made.deployments.delete("default", "flow")
            with pytest.raises(DiskFull):
                await made.deploy()
        with pytest.raises(NotFound):
            await made.deployments.get("default", "flow")
        await made.deploy()
        assert await made.saved() is None

    run(tmp_path, story)


def test_each_step_of_a_delete_is_tried_and_its_first_error_told(tmp_path: Path) -> None:
    tried: list[str] = []

    def failing(name: str) -> Callable[..., Any]:
        async def fail(*_what: Any) -> None:
            tried.append(name)
            raise StoreError(name)

        return fail

    async def story(made: House) -> None:
        made.remains.on_delete += [failing("one"), failing("two")]
        await made.deploy()
        await made.save(b"old")
        with pytest.raises(StoreError, match="one"):
            await made.deployments.delete("default", "flow")
        assert tried == ["one", "two"]
        assert await made.saved() is None

    run(tmp_path, story)


def test_a_deploy_clears_nothing_of_a_deployment_that_is_there_or_of_a_new_name(
    tmp_path: Path,
) -> None:
    told: list[Any] = []

    async def tell(*what: Any) -> None:
        told.append(what)

    async def story(made: House) -> None:
        made.remains.on_delete.append(tell)
        await made.deploy()
        await made.save(b"kept")
        await made.deploy()
        assert await made.saved() == b"kept"
        assert await made.builds.get("default", "flow", 1) is not None
        assert told == []

    run(tmp_path, story)


def test_a_version_that_was_called_by_number_before_it_served_again_serves_for_good(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()

    async def before(made: House) -> None:
        await made.deploy()
        await made.deploy()

    async def after(made: House) -> None:
        await made.versions.wake("default", "flow", 2)  # its turn to start has not come yet
        active = made.engine.pools[-1]
        await made.deployments.restore()
        await soon(lambda: made.route() is not None)
        assert made.route() is active
        await made.versions.wake("default", "flow", 1)  # this one goes when nobody calls it
        await soon(lambda: made.engine.pools[-1].stopped)
        assert not active.stopped

    run(tmp_path, before, engine)
    run(tmp_path, after, engine)


def test_a_start_that_breaks_unforeseen_is_tried_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(serving, "RETRY_S", (0.01,))
    engine = FakeEngine()

    async def before(made: House) -> None:
        await made.deploy()

    async def after(made: House) -> None:
        engine.fail = OSError(errno.ENOSPC, "No space left on device")
        await made.deployments.restore()
        await soon(lambda: made.serving.problem("default", "flow") is not None)
        problem = made.serving.problem("default", "flow")
        assert isinstance(problem, DiskFull)
        assert "No space left" in str(problem)
        engine.fail = None
        await soon(lambda: made.route() is not None)
        assert made.serving.problem("default", "flow") is None

    run(tmp_path, before, engine)
    run(tmp_path, after, engine)


def test_after_a_restart_the_active_version_serves_again(tmp_path: Path) -> None:
    async def before(made: House) -> None:
        await made.deploy()
        await made.deploy()

    async def after(made: House) -> None:
        made.engine.hold = asyncio.Event()
        await made.deployments.restore()
        with pytest.raises(NotReady):
            made.predictor.admit(predict_path("default", "flow"), b"")
        assert made.serving.not_serving() == ["default/flow"]
        made.engine.hold.set()
        await soon(lambda: made.route() is not None)
        assert made.route().key.number == 2
        assert made.serving.not_serving() == []

    run(tmp_path, before)
    run(tmp_path, after)


def test_a_version_that_was_being_deployed_at_a_crash_is_failed_afterwards(tmp_path: Path) -> None:
    async def before(made: House) -> None:
        made.engine.hold = asyncio.Event()
        deploy = asyncio.create_task(made.deploy())
        await made.engine.started.wait()
        deploy.cancel()

    async def after(made: House) -> None:
        await made.deployments.restore()
        view = await made.versions.get("default", "flow", 1)
        assert view.state is VersionState.FAILED
        assert "server stopped" in str(view.failure)
        assert made.route() is None

    run(tmp_path, before)
    run(tmp_path, after)


def test_a_deploy_wins_over_a_restart_that_still_tries(tmp_path: Path) -> None:
    async def before(made: House) -> None:
        await made.deploy()

    async def after(made: House) -> None:
        made.engine.fail = LoadFailed("the disk is full")
        await made.deployments.restore()
        await soon(lambda: made.serving.problem("default", "flow") is not None)
        view = await made.deployments.get("default", "flow")
        assert view.problem is not None
        assert view.problem["message"] == "the disk is full"
        made.engine.fail = None
        await made.deploy()
        assert made.route().key.number == 2

    run(tmp_path, before)
    run(tmp_path, after)


OTHER = Interpreter("cpython", "3.6.1", "ffff", "linux-x86_64")


@pytest.mark.parametrize(
    ("manifest", "options", "kind", "words"),
    [
        (make_manifest(), {"name": "Not Legal"}, InvalidName, "Not Legal"),
        (make_manifest(model=b"never sent"), {}, BlobMissing, "model.pt"),
        (make_manifest(model_type="quantum"), {}, InvalidManifest, "quantum"),
        (make_manifest(interpreter=OTHER, imports=[]), {}, InterpreterMismatch, "3.6"),
        (
            make_manifest(imports=[Imported("no_such_lib", "no-such")]),
            {},
            MissingImports,
            "pip install no-such",
        ),
        (
            make_manifest(),
            {"settings": VersionSettings(replicas=0)},
            InvalidSetting,
            "replicas is 0",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_before_it_is_recorded(
    tmp_path: Path, manifest: Manifest, options: dict[str, Any], kind: type, words: str
) -> None:
    async def story(made: House) -> None:
        with pytest.raises(kind) as caught:
            await made.deploy(manifest, **options)
        assert words in str(caught.value)
        assert await made.deployments.list("default") == []

    run(tmp_path, story)


def test_without_functions_another_interpreter_is_no_obstacle(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        await made.deploy(make_manifest(interpreter=OTHER))
        assert made.route() is not None

    run(tmp_path, story)
