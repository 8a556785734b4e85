"""The protocols of the webhook store and of the upload store.

Every implementation passes `tests/contract/`. Like every store they are called from the one
database thread; the files of uploads themselves are in a `BlobStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from penstock.core.delivery_records import (
    AttemptRecord,
    DeliveryRecord,
    DeliveryState,
    SecretRecord,
    Settlement,
    UploadRecord,
)


class WebhookStore(Protocol):
    """Deliveries, their attempts, and the secrets they are signed with.

    Deliveries are added by the run store, in the transaction that ends a run, and forgotten with
    their run. Each method is one durable transaction.
    """

    def due(
        self, now: float, limit: int, skip: Collection[str], skip_origins: Collection[str]
    ) -> Sequence[DeliveryRecord]:
        """Return pending deliveries whose time has come, the longest due first.

        Args:
            now: The present time.
            limit: Most to return.
            skip: Ids to leave out.
            skip_origins: Beginnings of URLs (`https://host:port`) to leave out.
        """

    def next_due(self, now: float) -> float | None:
        """Return the earliest time after `now` at which a delivery is due, or None."""

    def settle(self, settlement: Settlement) -> bool:
        """Record an attempt and what it makes of its delivery.

        False, with nothing recorded, if the delivery is gone, no longer pending, or has had
        another attempt or a request by hand meanwhile.
        """

    def get(self, project: str, delivery_id: str) -> DeliveryRecord | None:
        """Return a delivery, or None."""

    def attempts(self, delivery_id: str) -> Sequence[AttemptRecord]:
        """Return the latest 50 attempts of a delivery, oldest first."""

    def list(
        self,
        project: str,
        *,
        state: DeliveryState | None = None,
        deployment: str | None = None,
        run_id: str | None = None,
        only: Collection[str] | None = None,
        before: tuple[float, str] | None = None,
        limit: int,
    ) -> Sequence[DeliveryRecord]:
        """Return deliveries, newest first, older than `before` (`created_at` and id).

        With `only` it is those of these deployments.
        """

    def redeliver(self, project: str, delivery_id: str, now: float) -> DeliveryRecord | None:
        """Make a delivery pending and due at once, with its attempts counted anew; or None."""

    def call_off(self, project: str, delivery_id: str | None, origin: str | None) -> int:
        """Make pending deliveries `cancelled`; return how many.

        It is the one of that id, or all to the receiver `origin` (scheme and authority).
        """

    def secrets(self, project: str, now: float) -> Sequence[SecretRecord]:
        """Return the secrets that sign at `now`, the present one first; empty if there is none."""

    def replace_secret(
        self, project: str, secret: str, now: float, retire_at: float, *, shown: bool
    ) -> SecretRecord:
        """Make `secret` the present one; those before it sign until `retire_at` at the latest.

        `shown` tells whether its text is handed out now. Raises `NotFound` if there is no such
        project.
        """

    def mark_shown(self, seq: int, now: float) -> bool:
        """Note that a secret's text is handed out; False if it was before."""

    def reseal_secrets(self, change: Callable[[str, str], str]) -> int:
        """Replace the text of every secret by `change(project, text)`; return how many changed."""


class UploadStore(Protocol):
    """The list of uploaded files. Each method is one durable transaction."""

    def add(self, upload: UploadRecord, quota_bytes: int) -> None:
        """Remember a file.

        Raises `FileQuotaExceeded` if the project's files would have more than `quota_bytes`, not
        counting those that expired before `upload.created_at`.
        """

    def used_bytes(self, project: str, now: float) -> int:
        """Return the size of a project's files that are not expired."""

    def get(self, project: str, file_id: str) -> UploadRecord | None:
        """Return a file, expired or not, or None."""

    def list(self, project: str, now: float) -> Sequence[UploadRecord]:
        """Return a project's files that are not expired, newest first."""

    def delete(self, project: str, file_id: str) -> bool:
        """Forget a file; False if there was none."""

    def purge(self, now: float) -> int:
        """Forget what has expired; return how many files."""

    def hashes(self) -> Sequence[str]:
        """Return the SHA-256 of every file that is remembered."""
