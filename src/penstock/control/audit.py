"""The audit log: who changed what, when, from where.

`penstock.server.app` and the dashboard write an entry for every request that may change something
and whose key may ask for it, before they do it, and how it ended afterwards; `wiring` writes what
the server does by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from penstock.control.database import Database
from penstock.core.audit_records import UNFINISHED, AuditEntry
from penstock.core.errors import PenstockError
from penstock.core.faults import fault
from penstock.core.records import KeyRecord
from penstock.core.redaction import HIDDEN

log = logging.getLogger("penstock.audit")

#: Most entries of one page, and characters of a target that are kept.
PAGE = 1000
_TARGET = 500


@dataclass
class Change:
    """What becomes of a change; set by whoever makes it.

    Attributes:
        status: HTTP status it is answered with; 500 until that is known.
        details: What else is worth knowing; no key and no secret.
    """

    status: int = 500
    details: Mapping[str, str] = field(default_factory=dict)


class Audit:
    """The audit log. Every method runs on the event loop.

    Args:
        database: Where it is.
        keep_s: Seconds that entries are kept; 0 for ever.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self, database: Database, keep_s: float = 0.0, now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._keep_s = keep_s
        self._now = now

    async def note(self, action: str, target: str, status: int) -> None:
        """Add an entry of what the server did by itself; the log has one that cannot be written."""
        entry = self._entry(None, None, "", action, target, status)
        try:
            await self._database.call(self._database.records.audit.add, entry)
        except PenstockError:
            log.exception("An entry of the audit log could not be written: %s", entry)

    @asynccontextmanager
    async def change(
        self, key: KeyRecord | None, project: str | None, address: str, action: str, target: str
    ) -> AsyncIterator[Change]:
        """Write down a change before it is made, and how it ended afterwards.

        The body of the `async with` makes the change and sets what becomes of it. A crash in
        between leaves an entry that is `UNFINISHED`: no change is without one.

        Args:
            key: Who asked for it.
            project: Where; None for what concerns the whole server.
            address: Where the request came from.
            action: What was asked for.
            target: To which thing.

        Raises:
            StoreError: The entry cannot be written; the change must not be made.
        """
        entry = self._entry(key, project, address, action, target, UNFINISHED)
        seq = await self._database.call(self._database.records.audit.add, entry)
        fault("audit.begun")
        change = Change()
        try:
            yield change
        finally:
            fault("audit.changed")
            # Shielded: a client that goes away must not keep the end out of the log.
            await asyncio.shield(self._finish(seq, change))

    def _entry(
        self,
        key: KeyRecord | None,
        project: str | None,
        address: str,
        action: str,
        target: str,
        status: int,
    ) -> AuditEntry:
        return AuditEntry(
            at=self._now(),
            project=project,
            key_id=key.key_id if key is not None else "",
            actor=key.prefix if key is not None else "server",
            address=address,
            action=action,
            target=HIDDEN.text(target)[:_TARGET],
            status=status,
        )

    async def _finish(self, seq: int, change: Change) -> None:
        details = {name: HIDDEN.text(text) for name, text in change.details.items()}
        store = self._database.records.audit
        try:
            await self._database.call(store.finish, seq, change.status, details)
        except PenstockError:
            log.exception("How entry %d of the audit log ended could not be written.", seq)

    async def list(
        self, project: str | None, before: int | None = None, limit: int = 100
    ) -> Sequence[AuditEntry]:
        """Return entries of a project (None: all), newest first, with `seq` below `before`."""
        most = max(1, min(limit, PAGE))
        store = self._database.records.audit
        return await self._database.call(store.list, project, before=before, limit=most)

    async def purge(self) -> int:
        """Forget what is older than is to be kept; return how many entries."""
        if not self._keep_s:
            return 0
        store = self._database.records.audit
        return await self._database.call(store.purge, self._now() - self._keep_s)
