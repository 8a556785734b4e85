"""The environments of versions: chosen and built at deploy, found again at start, collected.

Building blocks for seconds or minutes and runs in threads of its own. Called by
`penstock.control.deploys` and `penstock.control.pools`, and by `penstock.wiring` for housekeeping.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from penstock.codec.bundle import Interpreter, Manifest
from penstock.control import admission
from penstock.control.database import Database
from penstock.control.events import LogEvent, Report, StepEvent
from penstock.core.errors import EnvironmentFailed, MissingImports, PenstockError
from penstock.core.records import VersionRecord
from penstock.core.states import VersionState
from penstock.engine.base import Environment
from penstock.environments import explain
from penstock.environments.builder import Builder
from penstock.environments.choice import choose, wanted
from penstock.environments.describe import EnvironmentInfo, describe
from penstock.environments.lock import Lock
from penstock.environments.pythons import Python
from penstock.environments.runtime import BOOT
from penstock.environments.try_imports import ImportFailure
from penstock.stores.base import BlobStore

Result = TypeVar("Result")

log = logging.getLogger("penstock.environments")

#: Environments that are built at the same time; uv itself uses every core.
BUILDS_AT_ONCE = 2

#: States of versions that may serve again, and so keep their environment.
_KEEPING = frozenset({VersionState.DEPLOYING, VersionState.READY, VersionState.WITHDRAWN})


class EnvironmentView(msgspec.Struct, frozen=True):
    """An environment. Times are seconds since the epoch (UTC).

    `size_bytes` leaves out the files that it shares with the cache.
    `used_by` names the versions that run in it, as `project/name version n`.
    """

    key: str
    python: str
    requirements: list[str]
    packages: dict[str, str]
    created_at: float
    built: bool
    build_seconds: float | None
    size_bytes: int | None
    used_by: list[str]


class _Lines:
    """Takes lines in a building thread and reports them on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:
        self._loop = loop
        self._report = report

    def __call__(self, line: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server ends
            self._loop.call_soon_threadsafe(self._report, LogEvent(line.strip()))


class Rules(NamedTuple):
    """How environments are chosen and kept.

    Attributes:
        preload: Model type to the modules that are imported ahead for it.
        needs: Model type to the top-level modules that load it.
        cuda: Whether NVIDIA's libraries may be installed.
        grace_s: Seconds that an environment without users is kept.
    """

    preload: Mapping[str, Sequence[str]] = {}
    needs: Mapping[str, Sequence[str]] = {}
    cuda: bool = True
    grace_s: float = 86400.0


class Environments:
    """Environments of versions. Methods run on the event loop unless they say that they block.

    Args:
        builder: Builds and keeps them.
        pythons: The interpreters there are, the server's own first.
        database: Where versions are remembered.
        blobs: Where uploaded wheels are.
        rules: How they are chosen and kept.
    """

    def __init__(
        self,
        builder: Builder,
        pythons: Sequence[Python],
        database: Database,
        blobs: BlobStore,
        rules: Rules,
    ) -> None:
        self._builder = builder
        self._database = database
        self._blobs = blobs
        self._rules = rules
        self._threads = ThreadPoolExecutor(BUILDS_AT_ONCE, "penstock-build")
        self._held: Counter[str] = Counter()
        self._tried: set[tuple[str, tuple[str, ...]]] = set()
        self.own, *others = (python.interpreter for python in pythons)
        self.others: list[Interpreter] = others

    def choose(self, manifest: Manifest) -> Interpreter | None:
        """Return the interpreter of the environment that a bundle needs; None: the server's own.

        Raises:
            InterpreterMismatch: The server has no such interpreter.
        """
        return choose(
            requirements=manifest.requirements,
            python=manifest.python,
            made_by=manifest.interpreter if manifest.has_functions() else None,
            server=self.own,
            others=self.others,
        )

    @contextmanager
    def holding(self, key: str) -> Iterator[None]:
        """Keep an environment from being collected before a version of it is on record."""
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1

    async def lock(
        self,
        manifest: Manifest,
        interpreter: Interpreter,
        server: EnvironmentInfo,
        report: Report,
        *,
        force: bool,
    ) -> Lock:
        """Return the lock of the environment that a bundle needs.

        Args:
            manifest: The bundle.
            interpreter: What `choose` returned.
            server: What the server's own environment has.
            report: Gets the resolver's lines.
            force: Look again at what the indexes have, and build in any case.

        Raises:
            EnvironmentFailed: The requirements cannot be resolved.
        """
        modules = admission.model_modules(manifest, self._rules.needs)
        what = wanted(manifest, interpreter, modules, server.packages, cuda=self._rules.cuda)
        asked = ", ".join([*what.requirements, *what.libraries]) or "what a worker needs"
        report(StepEvent("environment", f"Environment for Python {interpreter.minor}: {asked}"))
        say = self._lines(report)
        work = partial(self._builder.lock, what, self._blobs.path, say, refresh=force)
        return await self._aside(work)

    async def build(self, lock: Lock, manifest: Manifest, report: Report) -> None:
        """Have the environment of a lock, with what the bundle's functions import.

        Raises:
            EnvironmentFailed: It cannot be built, or a library does not work in it.
            MissingImports: A function imports what it does not have.
        """
        work = partial(self._builder.build, lock, self._blobs.path, self._lines(report))
        fresh = await self._aside(work)
        report(StepEvent("environment_ready", self._summary(lock, fresh)))
        info = await asyncio.to_thread(self._builder.info, lock)
        admission.check_imports(manifest, info, own=True)
        await self._try_imports(lock, manifest)

    def _summary(self, lock: Lock, fresh: bool) -> str:
        built = self._builder.shelf.built(lock.key)
        how = f"built in {built.seconds:.1f} s" if fresh and built is not None else "there already"
        return f"Environment {lock.key[:12]}: {len(lock.packages)} packages, {how}"

    async def _try_imports(self, lock: Lock, manifest: Manifest) -> None:
        users: dict[str, tuple[int, str | None]] = {
            module: (number, role)
            for number, role, entry in reversed(list(admission.functions_of(manifest)))
            for module in entry.uses
        }
        for number, stage in manifest.walk():
            for module in self._rules.preload.get(stage.model_type, ()):
                users.setdefault(module, (number, None))
        modules = tuple(sorted(users))
        if (lock.key, modules) in self._tried:
            return
        failure = await self._aside(partial(self._builder.try_imports, lock, modules))
        if failure is not None:
            raise _does_not_work(failure, *users[failure.module], lock)
        self._tried.add((lock.key, modules))

    def _lines(self, report: Report) -> _Lines:
        return _Lines(asyncio.get_running_loop(), report)

    async def _aside(self, work: partial[Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # --- running versions ---

    def home(self, key: str) -> Environment | None:
        """Return where workers of the environment `key` run; blocks. Empty: the server's own."""
        if not key:
            return None
        return Environment(key, self._builder.shelf.python(key), self._builder.runtime.path(), BOOT)

    def ensure(self, key: str) -> None:
        """Have the environment of a version that was deployed before; blocks.

        Raises:
            EnvironmentFailed: It is gone and cannot be built again.
            InterpreterMismatch: Its Python is not on this machine any more.
        """
        if not key or self._builder.shelf.is_built(key):
            return
        lock = self._builder.shelf.lock(key)
        if lock is None:
            raise EnvironmentFailed(
                f"The environment {key[:12]} is gone, and with it its lock.",
                hint="Deploy the version again.",
            )
        log.warning("The environment %s is gone; it is built again from its lock.", key[:12])
        self._builder.build(lock, self._blobs.path, lambda line: log.info("%s: %s", key[:12], line))

    async def packages(self, key: str) -> Mapping[str, str]:
        """Return version by distribution of an environment; of the server's own for no key."""
        if not key:
            return (await asyncio.to_thread(describe)).packages
        lock = await asyncio.to_thread(self._builder.shelf.lock, key)
        return lock.packages if lock is not None else {}

    # --- looking and collecting ---

    async def _users(self) -> dict[str, list[str]]:
        """Return the versions that use each environment."""
        found: dict[str, list[str]] = {}
        database = self._database
        for deployment in await database.call(database.records.list_deployments, None):
            for version in deployment.versions:
                if version.settings.environment and version.state in _KEEPING:
                    found.setdefault(version.settings.environment, []).append(_title(version))
        return found

    async def views(self) -> list[EnvironmentView]:
        """Return every environment, the newest first."""
        users = await self._users()
        shelf = self._builder.shelf
        locks = await asyncio.to_thread(lambda: [shelf.lock(key) for key in shelf.all_keys()])
        views = [self._view(lock, users.get(lock.key, [])) for lock in locks if lock is not None]
        return sorted(views, key=lambda view: view.created_at, reverse=True)

    def _view(self, lock: Lock, users: list[str]) -> EnvironmentView:
        built = self._builder.shelf.built(lock.key)
        return EnvironmentView(
            key=lock.key,
            python=lock.interpreter.version,
            requirements=list(lock.requirements),
            packages=lock.packages,
            created_at=lock.created_at,
            built=self._builder.shelf.is_built(lock.key),
            build_seconds=built.seconds if built is not None else None,
            size_bytes=built.size_bytes if built is not None else None,
            used_by=users,
        )

    async def collect(self, now: float) -> list[str]:
        """Delete the environments that have been without users for the grace; return their keys."""
        used = {*await self._users(), *(key for key, count in self._held.items() if count > 0)}
        grace_s = self._rules.grace_s
        gone = await self._aside(partial(self._builder.collect, used, grace_s, now))
        for key in gone:
            log.info("The environment %s had no user for %g s and is deleted.", key[:12], grace_s)
        return gone

    async def keep_tidy(self, every_s: float, now: Callable[[], float]) -> None:
        """Collect now and again, until cancelled."""
        while True:
            try:
                await self.collect(now())
            except Exception:
                log.exception("Collecting environments failed.")
            await asyncio.sleep(min(every_s, max(0.2, self._rules.grace_s / 2)))

    async def close(self) -> None:
        """End what is being built."""
        self._builder.stop()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)


def _title(version: VersionRecord) -> str:
    return f"{version.project}/{version.deployment} version {version.number}"


def _does_not_work(
    failure: ImportFailure, stage: int, role: str | None, lock: Lock
) -> PenstockError:
    kind = MissingImports if failure.missing else EnvironmentFailed
    told = f"{failure.text}\n{failure.traceback}"
    hint = explain.import_hint(failure.module, failure.type, told, missing=failure.missing)
    owner = "The model" if role in {"model", None} else f"`{role}`"
    text = failure.text if failure.text.endswith((".", "!")) else f"{failure.text}."
    return kind(
        f"{owner} of stage {stage} imports `{failure.module}`, which does not work in its "
        f"environment: {failure.type}: {text}",
        stage=stage,
        function=role,
        type=failure.type,
        hint=hint or "Ask for other versions in requirements; the traceback tells where it failed.",
        traceback=failure.traceback,
        environment=lock.key,
    )
