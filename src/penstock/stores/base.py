"""The protocols of the server's state. Every implementation passes `tests/contract/`.

All methods are synchronous, may block, and are called from the one thread of their store (records,
memory) or from worker threads (blobs). None is called on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from penstock.core.records import (
    DeploymentRecord,
    KeyRecord,
    ProjectRecord,
    Scaling,
    VersionRecord,
    VersionSettings,
)
from penstock.core.states import VersionState
from penstock.stores.guard_base import AuditStore, SecretStore
from penstock.stores.runs_base import RunStore
from penstock.stores.webhooks_base import UploadStore, WebhookStore

#: A retry due later than this many seconds from now was planned by a clock that has since been
#: set back; it is due.
FARTHEST_RETRY_S = 3600.0


class RecordStore(Protocol):
    """Projects, keys, deployments and versions. Each method is one transaction.

    Writes are durable (fsync) when the method returns. Absent things are None or raise `NotFound`
    as each method says; times are seconds since the epoch and are given by the caller.
    """

    @property
    def runs(self) -> RunStore:
        """The asynchronous runs, which share the records' transactions."""

    @property
    def webhooks(self) -> WebhookStore:
        """Deliveries of runs' ends to webhooks, in the same database."""

    @property
    def uploads(self) -> UploadStore:
        """The list of uploaded files, in the same database."""

    @property
    def secrets(self) -> SecretStore:
        """The projects' secrets, sealed, in the same database."""

    @property
    def audit(self) -> AuditStore:
        """Who changed what, in the same database."""

    def add_project(self, project: ProjectRecord) -> None:
        """Add a project. Raises `Conflict` if the name is taken."""

    def get_project(self, name: str) -> ProjectRecord | None:
        """Return a project, or None."""

    def list_projects(self) -> list[ProjectRecord]:
        """Return every project by name."""

    def add_key(self, key: KeyRecord) -> None:
        """Add a key. Raises `Conflict` if its id or digest is taken."""

    def list_keys(self, project: str | None = None) -> list[KeyRecord]:
        """Return the keys of `project`, or all keys, oldest first, revoked ones too."""

    def revoke_key(self, key_id: str, at: float) -> KeyRecord | None:
        """Mark a key as revoked and return it; None if there is no such key."""

    def mark_keys_used(self, key_ids: Sequence[str], at: float) -> None:
        """Note when keys were last used; unknown ones are passed over."""

    def delete_key(self, key_id: str) -> bool:
        """Forget a key, so that its digest may be used again. False if there was none."""

    def add_version(
        self,
        *,
        project: str,
        deployment: str,
        manifest: bytes,
        settings: VersionSettings,
        size_bytes: int,
        created_at: float,
        created_by: str,
    ) -> VersionRecord:
        """Add the next version (`deploying`), creating the deployment if need be.

        Numbers count from 1 and are never used twice: not after a version was deleted, and not
        after the whole deployment was deleted and its name is used again. Raises `NotFound` if
        the project does not exist.
        """

    def set_version_state(
        self,
        project: str,
        deployment: str,
        number: int,
        state: VersionState,
        *,
        at: float,
        failure: dict[str, Any] | None = None,
    ) -> VersionRecord:
        """Move a version to `state`.

        Raises `NotFound` if absent, `Conflict` if the move is not legal (`core.states`) or would
        delete the active version.
        """

    def set_version_settings(
        self, project: str, deployment: str, number: int, settings: VersionSettings
    ) -> VersionRecord:
        """Replace how a version is served and return it. Raises `NotFound` if absent."""

    def activate(self, project: str, deployment: str, number: int | None, at: float) -> None:
        """Make a `ready` version the active one (None: no version is active).

        Raises `NotFound` if the deployment or version is absent, `Conflict` if it is not ready.
        """

    def set_scaling(self, project: str, name: str, scaling: Scaling, at: float) -> None:
        """Set how many replicas a deployment may have. Raises `NotFound` if it is absent."""

    def get_deployment(self, project: str, name: str) -> DeploymentRecord | None:
        """Return a deployment with its versions (oldest first, deleted ones too), or None."""

    def list_deployments(self, project: str | None = None) -> list[DeploymentRecord]:
        """Return the deployments of `project`, or all, by name, with their versions."""

    def delete_deployment(self, project: str, name: str) -> bool:
        """Forget a deployment and its versions. False if there was none.

        The name may be used again; its version numbers go on where they stopped.
        """

    def last_deleted(self, project: str, name: str) -> int:
        """Return the last version number of a deleted deployment; 0 if it is there or never was."""

    def project_manifests(self, project: str) -> Iterable[bytes]:
        """Return the manifest of every version of a project that is not deleted."""

    def manifests(self) -> Iterable[bytes]:
        """Return the manifest of every version that is not deleted (for collecting blobs)."""

    def close(self) -> None:
        """Close the store."""


class BlobStore(Protocol):
    """Immutable bytes named by SHA-256. Safe to use from several threads.

    Every method that takes a name raises `InvalidName` if it is no SHA-256 in lower-case
    hexadecimal, and `StoreError` if the disk fails.
    """

    def has(self, sha256: str) -> bool:
        """Whether the blob is there; False also for one that was found corrupt."""

    def missing(self, sha256s: Sequence[str]) -> list[str]:
        """Return those that are not there, in the order given."""

    def begin(self, sha256: str) -> BlobWriter:
        """Begin to write a blob; see `BlobWriter`."""

    def path(self, sha256: str) -> Path:
        """Return a path to read the blob from, after checking its bytes against its name.

        Raises `BlobMissing` if absent, `BlobCorrupt` if the bytes have changed. A blob is checked
        again only when its size or times changed since the last check.
        """

    def read(self, sha256: str) -> bytes:
        """Return the blob's bytes, checked like `path`."""

    def collect(self, keep: frozenset[str], older_than: float) -> int:
        """Delete blobs not in `keep` and older than a time; return the bytes freed.

        The age of a blob counts from when it was written or last asked for (`has`, `missing`,
        `path`, `read`), so a deploy that was told "already there" does not lose it.
        """


class BlobWriter(Protocol):
    """Writes one blob. The blob appears, whole and durable, when `commit` returns.

    `abort` may be called from another thread while `write` or `commit` runs; it waits for them.
    """

    def write(self, chunk: bytes) -> None:
        """Add bytes."""

    def commit(self) -> int:
        """Check the hash, make the blob durable and visible; return its size.

        Raises `BlobCorrupt` if the bytes do not have the announced SHA-256; nothing is kept then.
        """

    def abort(self) -> None:
        """Give up; nothing is kept. Safe to call after `commit`."""


@dataclass(frozen=True)
class MemoryItem:
    """A value in memory. `stamp` grows with every write. Exactly one of value and number is set.

    `expires_at` is in seconds since the epoch; None: the value stays for good.
    """

    stamp: int
    value: bytes | None
    number: int | float | None
    expires_at: float | None = None


@dataclass(frozen=True)
class MemoryWrite:
    """One write of a `MemoryStore.publish`; `value` None deletes the name."""

    name: str
    value: bytes | None
    expires_at: float | None = None


@dataclass(frozen=True)
class MemoryQuota:
    """Limits of one namespace. `total_bytes` counts names (UTF-8) and values; a number is 8."""

    value_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    names: int = 100_000
    name_bytes: int = 1024


Namespace = tuple[str, str]


class MemoryStore(Protocol):
    """Names and bytes that processing functions share, by namespace.

    A namespace is `("<project>", "<deployment>")`, or `("<project>", "")` for the whole project.
    Each method is one transaction; writes survive a crash of the server process when the method
    returns. Expired names are missing. `now` is seconds since the epoch. Stamps are unique to one
    write method's call and grow over the whole store, across restarts too.
    """

    def read(self, namespace: Namespace, name: str, now: float) -> MemoryItem | None:
        """Return the value, or None."""

    def publish(self, namespace: Namespace, writes: Sequence[MemoryWrite], now: float) -> int:
        """Apply all writes, in order, or none; return the stamp they all carry.

        Raises `MemoryQuotaExceeded` naming the value or the namespace; then nothing is written.
        """

    def publish_all(
        self, groups: Sequence[tuple[Namespace, Sequence[MemoryWrite]]], now: float
    ) -> int:
        """Like `publish`, over several namespaces in one transaction."""

    def increment(
        self,
        namespace: Namespace,
        name: str,
        by: int | float,
        now: float,
        expires_at: float | None = None,
    ) -> MemoryItem:
        """Add to a number and return it; a missing name counts as 0.

        `expires_at` None leaves the expiry of an existing number as it is. Raises `Conflict` if
        the name holds a value that is not a number, or if the sum is no finite 64-bit number.
        """

    def swap(
        self,
        namespace: Namespace,
        name: str,
        expected_stamp: int,
        value: bytes,
        now: float,
        expires_at: float | None = None,
    ) -> int | None:
        """Write if the name still has `expected_stamp` (0: missing); None if it has not."""

    def names(self, namespace: Namespace, now: float) -> list[str]:
        """Return the names in a namespace, sorted."""

    def clear(self, namespace: Namespace) -> None:
        """Forget a namespace."""

    def purge(self, now: float) -> int:
        """Delete what has expired; return how many names."""

    def close(self) -> None:
        """Close the store."""
