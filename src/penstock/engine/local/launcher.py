"""Starts workers: forked from a zygote, or spawned as new interpreters. Used by `replica`.

Every way gives the same: a process that is the server's child, leads its own session, and holds the
worker's ends of the pipes. One more way, from a template, is in `template_launcher`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

import msgspec

from penstock.codec.sandbox import Sandbox
from penstock.core.errors import EngineError
from penstock.engine.base import Environment, VersionSpec
from penstock.engine.local.home import Home
from penstock.engine.local.options import EngineOptions, places_of, worker_command
from penstock.engine.local.pipes import ChildEnds
from penstock.engine.local.processes import start_process
from penstock.engine.local.zygote_client import ZygoteClient
from penstock.engine.sandbox import bubblewrap

_log = logging.getLogger(__name__)

#: Tries to fork, each from a new zygote when the last one died under it.
_FORK_TRIES = 3


class Launcher(Protocol):
    """How a worker process of a version comes to be."""

    async def prepare(self, spec: VersionSpec) -> None:
        """Do what comes before `launch` and may take long; may be cancelled.

        Raises:
            LoadFailed: The version did not load.
        """

    async def launch(self, ends: ChildEnds) -> int:
        """Start a worker on `ends` (the caller closes them) and return its process id.

        Raises:
            EngineError: No process could be started.
        """


class ProcessLauncher(Launcher, Protocol):
    """A launcher of any version."""

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Import modules ahead of the workers that need them, where that is possible."""


class SpawnLauncher:
    """Starts a new interpreter for every worker."""

    def __init__(
        self,
        options: EngineOptions,
        folder: Path,
        sandbox: Sandbox | None = None,
        environment: Environment | None = None,
    ) -> None:
        self._command = worker_command(options, environment, sandbox)
        self._python = environment.python if environment is not None else None
        self._folder = folder

    async def prepare(self, spec: VersionSpec) -> None:
        """Do nothing: the worker loads the version itself."""

    async def launch(self, ends: ChildEnds) -> int:
        """Start an interpreter; see `Launcher`."""
        command = [*self._command, str(os.getpid()), *(str(fd) for fd in ends)]
        return start_process(command, tuple(ends), self._folder, ends.log, self._python)

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Do nothing: a new interpreter shares nothing with this one."""


class IsolatedLauncher:
    """Starts a new interpreter in namespaces of its own for every worker of one version."""

    def __init__(
        self, options: EngineOptions, home: Home, environment: Environment | None = None
    ) -> None:
        self._options = options
        self._environment = environment
        self._python = environment.python if environment is not None else None
        self._libraries = places_of(environment) if environment is not None else ()
        self._home = home
        self._artifacts: tuple[str, ...] = ()

    async def prepare(self, spec: VersionSpec) -> None:
        """Note which files the worker has to see."""
        self._artifacts = tuple(str(path) for path in spec.blobs.values())

    async def launch(self, ends: ChildEnds) -> int:
        """Start bubblewrap, which starts the interpreter; see `Launcher`."""
        sandbox = self._home.sandbox
        assert sandbox is not None
        within = msgspec.structs.replace(sandbox, read=(*sandbox.read, *self._artifacts))
        command = worker_command(self._options, self._environment, within)
        command += [str(bubblewrap.PARENT_INSIDE), *(str(fd) for fd in ends)]
        shown = (*self._libraries, *self._artifacts)
        wrapped = bubblewrap.wrap(command, sandbox, shown)
        return start_process(wrapped, tuple(ends), self._home.path, ends.log, self._python)


class ForkLauncher:
    """Forks workers from the zygote; spawns where the zygote says that forking is not safe."""

    def __init__(self, zygote: ZygoteClient, spawn: SpawnLauncher) -> None:
        self._zygote = zygote
        self._spawn = spawn

    async def prepare(self, spec: VersionSpec) -> None:
        """Do nothing: the worker loads the version itself."""

    async def launch(self, ends: ChildEnds) -> int:
        """Fork a worker; see `Launcher`."""
        for _ in range(_FORK_TRIES):
            try:
                pid = await self._zygote.fork(ends)
            except EngineError:
                continue
            if pid is not None:
                return pid
            break
        _log.warning("A worker is spawned because it could not be forked.")
        return await self._spawn.launch(ends)

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Have the zygote import modules."""
        await self._zygote.warm(modules)
