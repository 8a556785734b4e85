"""What the pages show and act on: the use cases of `penstock.control`. Joined in wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.control.builds import Builds
from penstock.control.code import Code
from penstock.control.deliveries import Deliveries
from penstock.control.deployments import Deployments
from penstock.control.insight.run_details import Details
from penstock.control.insight.run_list import RunLists
from penstock.control.insight.run_logs import Logs
from penstock.control.insight.series import Series
from penstock.control.keys import Keys
from penstock.control.predict import Predictor
from penstock.control.projects import Projects
from penstock.control.runs import Runs
from penstock.control.uploads import Uploads
from penstock.control.usage import Usage
from penstock.control.versions import Versions
from penstock.control.webhook_secrets import WebhookSecrets
from penstock.core.records import KeyRecord


class SecretInfo(Protocol):
    """A secret as people see it: never its value. Times are seconds since the epoch."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def created_at(self) -> float:
        """When it was first set."""

    @property
    def updated_at(self) -> float:
        """When it was last set."""

    @property
    def updated_by(self) -> str:
        """Prefix of the key that did."""


class Secrets(Protocol):
    """The secrets of projects."""

    async def set(self, project: str, name: str, value: str, actor: str) -> bool:
        """Write a secret; True if it is new."""

    async def list(self, project: str) -> Sequence[SecretInfo]:
        """Return the names of a project's secrets."""

    async def delete(self, project: str, name: str) -> None:
        """Forget a secret."""


class Audit(Protocol):
    """The log of who changed what."""

    async def note(
        self,
        key: KeyRecord | None,
        project: str | None,
        address: str,
        action: str,
        target: str,
        status: int,
    ) -> None:
        """Add an entry."""

    async def list(
        self, project: str | None, before: int | None = None, limit: int = 100
    ) -> Sequence[Any]:
        """Return entries, newest first: `at`, `actor`, `action`, `target`, `status`, `address`."""


@dataclass(frozen=True)
class Parts:
    """The use cases behind the pages.

    Attributes:
        version: Penstock's version.
        url: Address that clients reach the server by, without a trailing slash.
        settings: Every option of the server with its value and what it means, for people.
        installed: Returns what is installed where functions run (`packages`, `interpreter`).
        status_of: HTTP status of an error code.
        max_body_bytes: Largest body of a call.
        secrets: The secrets, where the server keeps any.
        audit: The log of changes, where the server keeps one.
    """

    version: str
    url: str
    keys: Keys
    projects: Projects
    deployments: Deployments
    versions: Versions
    code: Code
    builds: Builds
    predictor: Predictor
    runs: Runs
    deliveries: Deliveries
    webhook_secrets: WebhookSecrets
    uploads: Uploads
    series: Series
    details: Details
    run_lists: RunLists
    logs: Logs
    memory: Usage
    settings: Callable[[], list[tuple[str, str, str, str]]]
    installed: Callable[[], Awaitable[Any]]
    status_of: Callable[[str], int]
    max_body_bytes: int
    secrets: Secrets | None = None
    audit: Audit | None = None
