"""What the pages show and act on: the use cases of `penstock.control`. Joined in wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from penstock.control.audit import Audit
from penstock.control.builds import Builds
from penstock.control.code import Code
from penstock.control.deliveries import Deliveries
from penstock.control.deployments import Deployments
from penstock.control.insight.monitoring import Monitoring
from penstock.control.insight.run_details import Details
from penstock.control.insight.run_list import RunLists
from penstock.control.insight.run_logs import Logs
from penstock.control.insight.series import Series
from penstock.control.keys import Keys
from penstock.control.predict import Predictor
from penstock.control.projects import Projects
from penstock.control.replica_load import ReplicaLoads
from penstock.control.runs import Runs
from penstock.control.secrets import Secrets
from penstock.control.status import SandboxView
from penstock.control.uploads import Uploads
from penstock.control.usage import Usage
from penstock.control.versions import Versions
from penstock.control.webhook_secrets import WebhookSecrets


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
        audit: The log of changes.
        sandbox: Returns how workers are confined; None: not at all.
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
    monitoring: Monitoring
    memory: Usage
    loads: ReplicaLoads
    settings: Callable[[], list[tuple[str, str, str, str]]]
    installed: Callable[[], Awaitable[Any]]
    status_of: Callable[[str], int]
    max_body_bytes: int
    secrets: Secrets
    audit: Audit
    sandbox: Callable[[], SandboxView | None]
