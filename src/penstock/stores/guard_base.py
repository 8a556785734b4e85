"""The protocols of secrets and of the audit log, which share the records' transactions.

Like `base`: synchronous, called from the one database thread. Secrets come and go sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from penstock.core.audit_records import AuditEntry
from penstock.core.secret_records import StoredSecret

#: Returns other bytes for the sealed value of a project's secret.
Reseal = Callable[[str, str, bytes], bytes]


class SecretStore(Protocol):
    """Sealed secrets by project and name. Each method is one transaction."""

    def put(self, secret: StoredSecret) -> bool:
        """Write a secret; True if it is new (`created_at` of an old one stays).

        Raises `NotFound` if the project does not exist.
        """

    def list(self, project: str) -> Sequence[StoredSecret]:
        """Return the secrets of a project by name."""

    def get(self, project: str, names: Iterable[str]) -> Sequence[StoredSecret]:
        """Return those of `names` that are there."""

    def delete(self, project: str, name: str) -> bool:
        """Forget a secret; False if there was none."""

    def reseal(self, change: Reseal) -> int:
        """Replace the sealed value of every secret, all or none; return how many."""


class AuditStore(Protocol):
    """Who changed what. Entries are added, finished once, and expire; nothing else changes one."""

    def add(self, entry: AuditEntry) -> int:
        """Add an entry; return the `seq` it is given. It outlives a crash from then on."""

    def finish(self, seq: int, status: int, details: Mapping[str, str]) -> None:
        """Write down how an entry ended that was added as unfinished; others stay as they are."""

    def list(
        self, project: str | None, *, before: int | None = None, limit: int = 100
    ) -> Sequence[AuditEntry]:
        """Return entries of a project (None: all), newest first, with `seq` below `before`."""

    def purge(self, older_than: float) -> int:
        """Forget entries from before a time; return how many."""
