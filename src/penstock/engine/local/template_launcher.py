"""Starts the workers of one version from its template: the third way beside those of `launcher`.

One `TemplateLauncher` per pool. The template is kept while the version has replicas: a worker
forked from it is ready in milliseconds and shares the models' memory. One that dies is made again
when the next worker is wanted. Where there can be no template, workers load the version themselves.
"""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from typing import Any

from penstock.engine.base import VersionSpec
from penstock.engine.local import failures
from penstock.engine.local.home import Home
from penstock.engine.local.logs import LogTail
from penstock.engine.local.pipes import ChildEnds
from penstock.engine.local.spare import Spare
from penstock.engine.local.surroundings import Surroundings
from penstock.engine.local.template import Template


class TemplateLauncher:
    """Starts the workers of one version from its template; see `launcher.Launcher`.

    Args:
        around: What every replica of the engine shares.
        spare: Starts the template.
        tail: Gets what the template prints.
        home: The version's folder. The template's own is kept as long as a worker may read it.
    """

    def __init__(self, around: Surroundings, spare: Spare, tail: LogTail, home: Home) -> None:
        self._around = around
        self._loop = around.loop
        self._spare = spare
        self._tail = tail
        self._home = home
        self._folder = home.folder("template")
        self._template: Template | None = None
        self._loading: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._fenced = 0
        self._why_not = ""
        self._load_ms = 0.0

    def facts(self) -> dict[str, Any]:
        """Return what people may see of it: its process id, or why there is none."""
        if self._why_not:
            return {"why_not": self._why_not, "load_ms": self._load_ms}
        if self._template is None:
            return {}
        return {"pid": self._template.pid, "load_ms": self._load_ms}

    async def prepare(self, spec: VersionSpec) -> None:
        """Have a template that has loaded the version, if there can be one.

        Raises:
            LoadFailed: The version did not load.
        """
        while not self._why_not and (self._template is None or not self._template.pid):
            if self._loading is None:
                self._loading = self._loop.create_task(self._load(spec))
            task = self._loading
            await asyncio.wait({task})
            if self._loading is task:
                self._loading = None
            if task.cancelled():
                raise failures.stopping(spec.key)
            task.result()

    async def _load(self, spec: VersionSpec) -> None:
        if self._template is not None:
            await self._close(self._template)
            self._template = None
        template = await self._spare.take(self._tail)
        if template is None:
            self._why_not = "workers are not forked here"
            return
        try:
            self._home.make(self._folder)
            self._fenced = template.pid
            fences = self._around.fences
            await fences.put(self._fenced, spec.memory_limit_bytes)
            why_ended = partial(fences.why_ended, self._fenced)
            await template.load(spec, self._folder, self._home, why_ended)
        except BaseException:
            await asyncio.shield(self._close(template))
            raise
        finally:
            self._spare.renew()
        self._template, self._load_ms = template, template.load_ms

    async def launch(self, ends: ChildEnds) -> int:
        """Fork a worker from the template, or start one that loads the version itself."""
        template = self._template
        if template is None or not template.pid:
            return await self._around.direct.launch(ends)
        if template.obstacle:
            self._why_not = template.obstacle
            self._template = None
            self._fenced = 0  # the worker is where the template was, and takes that along
            try:
                return template.become(ends)
            finally:
                self._close_later(template)
        pid = await template.branch(ends)
        return pid if pid is not None else await self._around.direct.launch(ends)

    def _close_later(self, template: Template) -> None:
        """Close what is left of a template that became a worker, or that could not."""
        task = self._loop.create_task(self._close(template))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, template: Template) -> None:
        fenced, self._fenced = self._fenced, 0
        await template.close()
        await self._around.fences.take(fenced)

    async def close(self) -> None:
        """End the template; the next `prepare` makes a new one. No replica may be left."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
            self._loading = None
        template, self._template = self._template, None
        if template is not None:
            self._close_later(template)
        while self._closing:  # a caller that gives up leaves them to the next one
            await asyncio.wait(set(self._closing))
        self._why_not = ""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
