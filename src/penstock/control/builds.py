"""What happened while each version was deployed: steps, lines the worker printed, how it ended.

`deploys` tells it; the dashboard shows it, live while a deploy goes on and from the log afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from penstock.control.events import (
    DeployEvent,
    FailedEvent,
    LogEvent,
    ReadyEvent,
    Report,
    StepEvent,
)
from penstock.core.errors import StoreError

log = logging.getLogger("penstock.versions")

#: Most lines that are kept of one deploy; the first and the last ones stay.
MOST_LINES = 2000


class BuildLine(msgspec.Struct, frozen=True, array_like=True):
    """One line: seconds since the deploy began, its kind, its text.

    The kinds are `step`, `log`, `ready`, `failed` and `trace`, a line of the traceback.
    """

    at_s: float
    kind: str
    text: str


class BuildLog(msgspec.Struct):
    """All that is known of one version's deploy. `outcome` is empty while it goes on."""

    started_at: float
    lines: list[BuildLine] = []
    outcome: str = ""
    took_s: float = 0.0
    left_out: int = 0


class BuildStore(Protocol):
    """Keeps finished logs."""

    def write(self, project: str, deployment: str, number: int, content: bytes) -> None:
        """Keep one log."""

    def read(self, project: str, deployment: str, number: int) -> bytes | None:
        """Return one log, or None."""

    def forget(self, project: str, deployment: str) -> None:
        """Forget the logs of a deployment."""


Key = tuple[str, str, int]


class Notes:
    """Takes the events of one deploy: notes them and hands them on."""

    def __init__(self, builds: Builds, project: str, deployment: str, report: Report) -> None:
        self.build = BuildLog(builds.now())
        self._builds = builds
        self._name = (project, deployment)
        self._key: Key | None = None
        self._report = report

    def __call__(self, event: DeployEvent) -> None:
        """Note an event, then hand it on."""
        _note(self.build, event, self._builds.now() - self.build.started_at)
        self._report(event)

    def begin(self, number: int) -> None:
        """Say which version it is about, as soon as it has its number."""
        self._key = (*self._name, number)
        self._builds.under_way[self._key] = self.build

    async def end(self) -> None:
        """Keep the log now that the deploy is over."""
        if self._key is not None:
            await self._builds.keep(self._key, self.build)


class Builds:
    """The logs of deploys. Every method runs on the event loop.

    Args:
        store: Where finished ones are kept.
        now: Seconds since the epoch.

    Attributes:
        under_way: Those that are not over.
    """

    def __init__(self, store: BuildStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self.now = now
        self.under_way: dict[Key, BuildLog] = {}

    def follow(self, project: str, deployment: str, report: Report) -> Notes:
        """Return what notes the events of a deploy and hands them to `report`."""
        return Notes(self, project, deployment, report)

    async def keep(self, key: Key, build: BuildLog) -> None:
        """Keep a log; a disk that fails is no reason to fail the deploy."""
        try:
            await asyncio.to_thread(self._store.write, *key, msgspec.json.encode(build))
        except StoreError:
            log.exception("The log of a deploy cannot be kept.")
        finally:
            self.under_way.pop(key, None)

    async def get(
        self, project: str, deployment: str, number: int, *, with_traceback: bool = False
    ) -> BuildLog | None:
        """Return the log of a version's deploy, or None if nothing is known.

        Args:
            project: The project.
            deployment: The deployment.
            number: The version.
            with_traceback: Whether the reader may see user code's traceback.
        """
        build = self.under_way.get((project, deployment, number))
        if build is None:
            build = await self._kept(project, deployment, number)
        return build if build is None or with_traceback else told_to_readers(build)

    async def _kept(self, project: str, deployment: str, number: int) -> BuildLog | None:
        content = await asyncio.to_thread(self._store.read, project, deployment, number)
        try:
            return None if content is None else msgspec.json.decode(content, type=BuildLog)
        except msgspec.MsgspecError:
            return None

    def step(self, project: str, deployment: str) -> str:
        """Return the step that a deploy under way is at, or nothing."""
        for (its_project, its_name, _number), build in self.under_way.items():
            if (its_project, its_name) == (project, deployment):
                return next((ln.text for ln in reversed(build.lines) if ln.kind == "step"), "")
        return ""

    async def forget(self, project: str, deployment: str) -> None:
        """Forget the logs of a deployment that was deleted."""
        await asyncio.to_thread(self._store.forget, project, deployment)


def told_to_readers(build: BuildLog) -> BuildLog:
    """Return a log as keys that may not deploy see it: without the traceback.

    It comes last; older logs have its lines as if a worker had printed them.
    """
    kinds = [line.kind for line in build.lines]
    end = kinds.index("failed") + 1 if "failed" in kinds else len(kinds)
    lines = [line for line in build.lines[:end] if line.kind != "trace"]
    return msgspec.structs.replace(build, lines=lines)


def _note(build: BuildLog, event: DeployEvent, at_s: float) -> None:
    if isinstance(event, StepEvent):
        build.lines.append(BuildLine(at_s, "step", event.message))
    elif isinstance(event, LogEvent):
        build.lines.append(BuildLine(at_s, "log", event.line))
    elif isinstance(event, ReadyEvent):
        build.outcome, build.took_s = "ready", at_s
        build.lines.append(BuildLine(at_s, "ready", "Ready."))
    elif isinstance(event, FailedEvent):
        build.outcome, build.took_s = "failed", at_s
        build.lines.append(BuildLine(at_s, "failed", str(event.error.get("message", ""))))
        trace = event.error.get("traceback")
        build.lines += [BuildLine(at_s, "trace", line) for line in str(trace or "").splitlines()]
    if len(build.lines) > MOST_LINES:
        del build.lines[MOST_LINES // 2]
        build.left_out += 1
