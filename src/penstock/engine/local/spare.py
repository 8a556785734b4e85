"""One template process started ahead of need: a version that wakes or loads need not wait for it.

Forking a process with the libraries in it takes as long as loading a small version. So each zygote
forks one before it is wanted; it waits, knowing no version. Used by `template_launcher`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from penstock.core.errors import EngineError
from penstock.engine.local.logs import LogTail
from penstock.engine.local.options import EngineOptions
from penstock.engine.local.orphans import Orphans
from penstock.engine.local.template import Template
from penstock.engine.local.zygote_client import ZygoteClient

_log = logging.getLogger(__name__)


class Spare:
    """Starts the templates of one zygote, one ahead of need.

    Args:
        loop: The server's loop.
        options: Settings; `spare_delay_s` says when the next one is made, None never.
        orphans: Follows the processes.
        zygote: Forks them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: EngineOptions,
        orphans: Orphans,
        zygote: ZygoteClient,
    ) -> None:
        self._loop = loop
        self._options = options
        self._orphans = orphans
        self._zygote = zygote
        self._waiting: Template | None = None
        self._libraries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int:
        """The process id of the one that waits; 0 when there is none."""
        return self._waiting.pid if self._waiting is not None else 0

    async def take(self, tail: LogTail) -> Template | None:
        """Return a started template whose output goes to `tail`; None where none can be forked.

        Raises:
            EngineError: The zygote died; try again.
        """
        template, self._waiting = self._waiting, None
        if template is not None:
            if template.pid and self._libraries == self._zygote.libraries:
                template.print_to(tail)
                return template
            self._end(template)
        template = Template(self._loop, self._options, self._orphans, tail)
        if await self._started(template):
            return template
        await template.close()
        return None

    async def _started(self, template: Template) -> bool:
        """Start it; a process that is on its way cannot be called back, so it comes first."""
        starting = self._loop.create_task(template.start(self._zygote))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.gather(starting, return_exceptions=True)
            await asyncio.shield(template.close())
            raise
        except BaseException:
            await template.close()
            raise

    def renew(self) -> None:
        """Have the next one made soon, when whoever took the last one is through with its work."""
        delay = self._options.spare_delay_s
        if delay is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._make_later)

    def _make_later(self) -> None:
        self._timer = None
        if self._waiting is None or not self._waiting.pid:
            self._task(self._make())
        elif self._libraries != self._zygote.libraries:
            template, self._waiting = self._waiting, None
            self._end(template)
            self._task(self._make())

    async def _make(self) -> None:
        libraries = self._zygote.libraries
        template = Template(self._loop, self._options, self._orphans, LogTail())
        try:
            if not await self._started(template):
                await template.close()
                return
        except EngineError as error:
            _log.debug("no spare template: %s", error)
            return
        if self._waiting is not None:
            self._end(self._waiting)
        self._waiting, self._libraries = template, libraries

    def _end(self, template: Template) -> None:
        """End a template that nobody wants."""
        self._task(template.close())

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the one that waits, and make no more. The zygote must be there still, or be gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        template, self._waiting = self._waiting, None
        if template is not None:
            await template.close()
