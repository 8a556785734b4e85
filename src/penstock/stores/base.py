"""The protocols of the server's state. Every implementation passes `tests/contract/`.

All methods are synchronous, may block, and are called from the one database thread (records,
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
    VersionRecord,
    VersionSettings,
)
from penstock.core.states import VersionState


class RecordStore(Protocol):
    """Projects, keys, deployments and versions. Each method is one transaction.

    Writes are durable (fsync) when the method returns. Absent things are None or raise `NotFound`
    as each method says; times are seconds since the epoch and are given by the caller.
    """

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

        Numbers count from 1 and are never used twice, also after deletion. Raises `NotFound` if
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

        Raises `NotFound` if absent, `Conflict` if the move is not legal (`core.states`).
        """

    def activate(self, project: str, deployment: str, number: int | None, at: float) -> None:
        """Make a `ready` version the active one (None: no version is active).

        Raises `NotFound` if the deployment or version is absent, `Conflict` if it is not ready.
        """

    def get_deployment(self, project: str, name: str) -> DeploymentRecord | None:
        """Return a deployment with its versions (oldest first, deleted ones too), or None."""

    def list_deployments(self, project: str | None = None) -> list[DeploymentRecord]:
        """Return the deployments of `project`, or all, by name, with their versions."""

    def delete_deployment(self, project: str, name: str) -> bool:
        """Forget a deployment and its versions. False if there was none."""

    def manifests(self) -> Iterable[bytes]:
        """Return the manifest of every version that is not deleted (for collecting blobs)."""

    def close(self) -> None:
        """Close the store."""


class BlobStore(Protocol):
    """Immutable bytes named by SHA-256. Safe to use from several threads."""

    def has(self, sha256: str) -> bool:
        """Whether the blob is there."""

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
        """Delete blobs not in `keep` and older than a time; return the bytes freed."""


class BlobWriter(Protocol):
    """Writes one blob. The blob appears, whole and durable, when `commit` returns."""

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
    """A value in memory. `stamp` grows with every write. Exactly one of value and number is set."""

    stamp: int
    value: bytes | None
    number: int | float | None


@dataclass(frozen=True)
class MemoryWrite:
    """One write of a `MemoryStore.publish`; `value` None deletes the name."""

    name: str
    value: bytes | None
    expires_at: float | None = None


@dataclass(frozen=True)
class MemoryQuota:
    """Limits of one namespace."""

    value_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    names: int = 100_000


class MemoryStore(Protocol):
    """Names and bytes that processing functions share, by namespace.

    A namespace is `("<project>", "<deployment>")`, or `("<project>", "")` for the whole project.
    Each method is one transaction; writes survive a crash of the server process when the method
    returns. Expired names are missing. `now` is seconds since the epoch.
    """

    def read(self, namespace: tuple[str, str], name: str, now: float) -> MemoryItem | None:
        """Return the value, or None."""

    def publish(self, namespace: tuple[str, str], writes: Sequence[MemoryWrite], now: float) -> int:
        """Apply all writes or none; return the newest stamp.

        Raises `MemoryQuotaExceeded` naming the value or the namespace; then nothing is written.
        """

    def increment(
        self,
        namespace: tuple[str, str],
        name: str,
        by: int | float,
        now: float,
        expires_at: float | None = None,
    ) -> MemoryItem:
        """Add to a number and return it; a missing name counts as 0.

        Raises `Conflict` if the name holds a value that is not a number.
        """

    def swap(
        self,
        namespace: tuple[str, str],
        name: str,
        expected_stamp: int,
        value: bytes,
        now: float,
        expires_at: float | None = None,
    ) -> int | None:
        """Write if the name still has `expected_stamp` (0: missing); None if it has not."""

    def names(self, namespace: tuple[str, str], now: float) -> list[str]:
        """Return the names in a namespace, sorted."""

    def clear(self, namespace: tuple[str, str]) -> None:
        """Forget a namespace."""

    def purge(self, now: float) -> int:
        """Delete what has expired; return how many names."""

    def close(self) -> None:
        """Close the store."""
