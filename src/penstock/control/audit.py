"""The audit log: who changed what, when, from where.

`penstock.server.app` writes an entry for every request that may change something and whose key may
ask for it, whether it then worked or not; `wiring` writes what the server does by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from penstock.control.database import Database
from penstock.core.audit_records import AuditEntry
from penstock.core.errors import PenstockError
from penstock.core.records import KeyRecord
from penstock.core.redaction import HIDDEN

log = logging.getLogger("penstock.audit")

#: Most entries of one page, and characters of a target that are kept.
PAGE = 1000
_TARGET = 500


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

    async def note(
        self,
        key: KeyRecord | None,
        project: str | None,
        address: str,
        action: str,
        target: str,
        status: int,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Add an entry. One that cannot be written goes to the server's log instead.

        Args:
            key: Who asked for it; None for the server itself.
            project: Where; None for what concerns the whole server.
            address: Where the request came from.
            action: What was asked for.
            target: To which thing.
            status: HTTP status it was answered with.
            details: What else is worth knowing; no key and no secret.
        """
        entry = AuditEntry(
            at=self._now(),
            project=project,
            key_id=key.key_id if key is not None else "",
            actor=key.prefix if key is not None else "server",
            address=address,
            action=action,
            target=HIDDEN.text(target)[:_TARGET],
            status=status,
            details={name: HIDDEN.text(text) for name, text in (details or {}).items()},
        )
        try:
            await self._database.call(self._database.records.audit.add, entry)
        except PenstockError:
            log.exception("An entry of the audit log could not be written: %s", entry)

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
