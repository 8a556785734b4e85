"""Adding a version to a deployment: the use case behind `deploy`.

A version is admitted (checks that need no worker), recorded, loaded in a worker, tried with its
example, and only then made the active one. Whatever goes wrong before that leaves the version
before it serving. Deploys of one name take turns; the deployment's lock is held for moments, so
that a version can be activated and a deployment deleted while an environment is built. Called by
`penstock.server.routes.versions`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from penstock.codec.bundle import Interpreter, Manifest, read_manifest, write_manifest
from penstock.control import admission
from penstock.control.builds import Builds, Notes
from penstock.control.database import Database
from penstock.control.deploy_failures import (
    as_ours,
    as_soon_as_it_can,
    failed_event,
)
from penstock.control.environments import Environments
from penstock.control.events import ReadyEvent, Report, StepEvent
from penstock.control.model_files import labelled
from penstock.control.pools import key_of
from penstock.control.preparation import Preparation
from penstock.control.scaling import changed, with_deploy
from penstock.control.secrets import Secrets
from penstock.control.serving import Serving
from penstock.control.status import VersionView, version_view
from penstock.control.storage import Storage
from penstock.core.errors import Conflict, NotFound, PenstockError, StoreError
from penstock.core.faults import fault
from penstock.core.records import VersionRecord, VersionSettings
from penstock.core.states import VersionState
from penstock.engine.base import Pool
from penstock.environments import requirements
from penstock.environments.describe import EnvironmentInfo, describe
from penstock.stores.base import BlobStore

log = logging.getLogger("penstock.versions")


class Candidate(NamedTuple):
    """An admitted version that is not recorded yet."""

    project: str
    name: str
    raw: bytes
    manifest: Manifest
    settings: VersionSettings
    actor: str
    scaling: Mapping[str, Any] = {}
    python: Interpreter | None = None
    force: bool = False


class Deploys:
    """The deploys under way. Every method runs on the event loop.

    Args:
        database: Where versions are remembered.
        serving: Routes, pools and locks.
        blobs: Where the bundles' files are.
        environments: Those that versions have for themselves.
        endpoint: URL of a deployment's predict call, by project and name.
        builds: Keeps what happened.
        refuse_code: Whether models that can run code when they are loaded are refused.
        secrets: Says whether those that a version declares are set.
        storage: Says whether the project has room.
        before_first: Clears what an earlier deployment of a name left, if there is none now.
    """

    def __init__(
        self,
        database: Database,
        serving: Serving,
        blobs: BlobStore,
        environments: Environments,
        endpoint: Callable[[str, str], str],
        builds: Builds,
        secrets: Secrets,
        storage: Storage,
        before_first: Callable[[str, str], Awaitable[None]],
        *,
        refuse_code: bool = False,
    ) -> None:
        self._refuse_code = refuse_code
        self._secrets = secrets
        self._storage = storage
        self._before_first = before_first
        self._database = database
        self._serving = serving
        self._blobs = blobs
        self._endpoint = endpoint
        self._environments = environments
        self._builds = builds
        self._preparation = Preparation(database, serving.pools, blobs, environments)
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[VersionView]] = set()
        self._marking: set[asyncio.Task[None]] = set()

    async def admit(
        self,
        project: str,
        name: str,
        manifest: bytes,
        settings: VersionSettings,
        actor: str,
        scaling: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> Candidate:
        """Check everything that can be checked without a worker; record nothing.

        Args:
            project: The project.
            name: Name of the deployment, which may be new.
            manifest: The bundle's manifest as JSON.
            settings: How to serve the version.
            actor: Id of the key that asks for it.
            scaling: Limits of the deployment to change once the version is ready, by name.
            force: Build the version's environment anew, from what the indexes have now.

        Raises:
            InvalidName, InvalidManifest, InvalidSetting, InvalidRequirement, InterpreterMismatch,
            MissingImports: As their names say; nothing of this can ever be served here.
            BlobMissing: Files are not uploaded yet.
            ModelRunsCode: A model can run code when it is loaded, and that is not allowed here.
            NotFound: There is no such project.
            SecretNotSet: A secret that the version declares is not set.
            StorageFull: The project has no room for its files.
        """
        await admission.check_name(self._database, project, name)
        parsed = await asyncio.to_thread(read_manifest, manifest)  # it may have many entries
        admission.check_settings(settings)
        admission.check_loggers(settings, os.environ)
        changes = with_deploy(settings, scaling or {})
        changed(self._serving.scaling(project, name), changes)
        installed = await asyncio.to_thread(describe)
        python = await asyncio.to_thread(self._choose, parsed, installed)
        if await self._database.call(self._database.records.get_project, project) is None:
            raise NotFound(f"There is no project {project!r}.")
        await self._secrets.check(project, settings.secrets)
        await self._storage.check_bundle(project, parsed)
        missing = await asyncio.to_thread(self._blobs.missing, list(parsed.blobs()))
        admission.check_blobs(parsed, missing)
        parsed = await asyncio.to_thread(self._labelled, parsed)
        raw = write_manifest(parsed)
        return Candidate(project, name, raw, parsed, settings, actor, changes, python, force)

    def _choose(self, manifest: Manifest, installed: EnvironmentInfo) -> Interpreter | None:
        """Return the interpreter for a bundle, None for the server's own, if all is there."""
        requirements.check(manifest.requirements)
        admission.check_model_types(manifest, installed.model_types)
        python = self._environments.choose(manifest)
        if python is None:
            admission.check_imports(manifest, installed)
        return python

    def _labelled(self, manifest: Manifest) -> Manifest:
        refuse = self._refuse_code
        return labelled(manifest, self._blobs, self._environments.own, refuse_code=refuse)

    def begin(
        self, candidate: Candidate, report: Report, *, activate: bool = True
    ) -> asyncio.Task[VersionView]:
        """Deploy in the background, whether or not the caller stays to hear of it.

        Args:
            candidate: What `admit` returned.
            report: Called with each event; the last is a `ReadyEvent` or a `FailedEvent`.
            activate: Whether the version shall serve once it is ready.

        Returns:
            The task; it gives the version, or raises what the `FailedEvent` says.
        """
        task = asyncio.create_task(self._deploy_and_note(candidate, report, activate))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[VersionView]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was reported; nobody need await the task

    async def _deploy_and_note(
        self, candidate: Candidate, report: Report, activate: bool
    ) -> VersionView:
        notes = self._builds.follow(candidate.project, candidate.name, report)
        try:
            return await self._deploy(candidate, notes, activate)
        finally:
            await notes.end()

    async def _deploy(self, candidate: Candidate, report: Notes, activate: bool) -> VersionView:
        turn = self._turns.setdefault((candidate.project, candidate.name), asyncio.Lock())
        if turn.locked():
            report(StepEvent("waiting", "Waiting for another deploy of the same name."))
        try:
            async with turn:
                view = await self._deploy_in_turn(candidate, report, activate)
        except Exception as error:  # noqa: BLE001 - `as_ours` logs what is not ours
            ours = as_ours(error)
            report(failed_event(ours))
            raise ours from ours.__cause__
        report(ReadyEvent(view, self._endpoint(candidate.project, candidate.name)))
        return view

    async def _deploy_in_turn(
        self, candidate: Candidate, report: Notes, activate: bool
    ) -> VersionView:
        async with self._serving.lock(candidate.project, candidate.name):
            record = await self._record(candidate)
        report.begin(record.number)
        fault("deploy.recorded")
        report(StepEvent("recorded", f"{candidate.name} version {record.number}"))
        try:
            manifest, python = candidate.manifest, candidate.python
            if python is not None:
                record = await self._preparation.give_environment(
                    record, manifest, python, report, force=candidate.force
                )
            pool = await self._preparation.load(record, manifest, report)
            fault("deploy.loaded")
            async with self._serving.lock(candidate.project, candidate.name):
                record = await self._mark(record, VersionState.READY)
                return await self._put_in_service(record, pool, candidate, report, activate)
        except Exception as error:  # noqa: BLE001 - `as_ours` logs what is not ours
            told = await self._failed(record, as_ours(error))
            raise told from (error.__cause__ if told is error else error)

    async def _put_in_service(
        self, record: VersionRecord, pool: Pool, candidate: Candidate, report: Notes, activate: bool
    ) -> VersionView:
        """Let a version that is ready serve if it shall; the caller holds the deployment's lock."""
        fault("deploy.ready")
        try:
            await self._scale(candidate)
        except BaseException:
            self._serving.pools.stop(key_of(record))
            raise
        if not activate:
            self._serving.pools.stop(key_of(record))
            return version_view(record, None)
        report(StepEvent("activating", "Switching the endpoint over."))
        await self._serving.activate(record, pool)
        return version_view(record, record.number)

    async def _scale(self, candidate: Candidate) -> None:
        """Take the limits that came with the version, if they say something new."""
        project, name = candidate.project, candidate.name
        before = self._serving.scaling(project, name)
        wanted = changed(before, candidate.scaling)
        if wanted != before:
            await self._serving.set_scaling(project, name, wanted)

    async def _record(self, candidate: Candidate) -> VersionRecord:
        await self._before_first(candidate.project, candidate.name)
        return await self._database.call(
            self._database.records.add_version,
            project=candidate.project,
            deployment=candidate.name,
            manifest=candidate.raw,
            settings=candidate.settings,
            size_bytes=sum(blob.size for blob in candidate.manifest.blobs().values()),
            created_at=self._serving.now(),
            created_by=candidate.actor,
        )

    async def _mark(
        self, record: VersionRecord, state: VersionState, failure: dict[str, Any] | None = None
    ) -> VersionRecord:
        return await self._database.call(
            self._database.records.set_version_state,
            record.project,
            record.deployment,
            record.number,
            state,
            at=self._serving.now(),
            failure=failure,
        )

    async def _failed(self, record: VersionRecord, error: PenstockError) -> PenstockError:
        """Stop a version that is not ready and mark it as failed; return what to tell."""
        if record.state is VersionState.READY:
            return error
        self._serving.pools.stop(key_of(record))
        log.warning("%s is not ready: %s", key_of(record), error)
        failure = error.to_dict(with_traceback=True)
        try:
            await self._mark(record, VersionState.FAILED, failure)
        except NotFound:
            return _deleted(record)
        except StoreError:
            log.exception("%s cannot be marked as failed yet.", key_of(record))
            mark = partial(self._mark, record, VersionState.FAILED, failure)
            marking = asyncio.create_task(as_soon_as_it_can(mark))
            self._marking.add(marking)
            marking.add_done_callback(self._marking.discard)
        return error

    async def close(self) -> None:
        """Give up the deploys under way; the next start marks their versions as failed."""
        tasks = {*self._tasks, *self._marking}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _deleted(record: VersionRecord) -> Conflict:
    return Conflict(
        f"{record.project}/{record.deployment} was deleted while its version {record.number} was "
        "being deployed.",
        hint="Deploy again.",
    )
