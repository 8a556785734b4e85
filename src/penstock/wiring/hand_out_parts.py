"""Joins what the server hands out by itself: webhooks and uploaded files; called by `assembly`."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.control.addresses import Allowance
from penstock.control.alerts import Alerts
from penstock.control.database import Database
from penstock.control.deliveries import Deliveries
from penstock.control.file_links import FileLinks
from penstock.control.outgoing import Outgoing
from penstock.control.runs import Runs
from penstock.control.secrets import Secrets
from penstock.control.uploads import UploadLimits, Uploads
from penstock.control.webhook_bodies import WebhookBodies
from penstock.control.webhook_secrets import WebhookSecrets
from penstock.control.webhooks import SendOptions, Webhooks
from penstock.server.errors import status_of
from penstock.server.settings import Settings
from penstock.stores.files import FileBlobs
from penstock.wiring.data_folder import DataFolder


@dataclass(frozen=True)
class WebhookParts:
    """The sender, its secrets, and what people see of it."""

    sender: Webhooks
    secrets: WebhookSecrets
    alerts: Alerts
    deliveries: Deliveries


def make_webhooks(
    settings: Settings, database: Database, sealed: Secrets, runs: Runs, url: str, version: str
) -> WebhookParts:
    """Return the parts of webhooks: nothing is sent before `Webhooks.start`.

    Raises:
        InvalidSetting: The setting `webhook_allow` cannot be read.
    """
    secrets = WebhookSecrets(database, sealed)
    bodies = WebhookBodies(
        database, runs.payloads, status_of, url, limit=settings.webhook_body_bytes
    )
    outgoing = Outgoing(Allowance(settings.webhook_allow), timeout_s=settings.webhook_timeout_s)
    user_agent = f"Penstock/{version}"
    sender = Webhooks(
        database,
        outgoing,
        secrets,
        bodies.read,
        SendOptions(user_agent=user_agent),
    )
    runs.delivery_listeners.append(sender.wake)
    alerts = Alerts(outgoing, secrets, user_agent)
    return WebhookParts(sender, secrets, alerts, Deliveries(database, sender.wake))


def make_uploads(settings: Settings, folder: DataFolder, database: Database, url: str) -> Uploads:
    """Return the uploaded files. Raises `StoreError` if their folder cannot be used."""
    return Uploads(
        database,
        FileBlobs(folder.files),
        FileLinks(url, folder.file_secret()),
        UploadLimits(
            ttl_s=settings.file_ttl_s,
            max_ttl_s=settings.file_max_ttl_s,
            file_bytes=settings.file_bytes,
            total_bytes=settings.files_total_bytes,
        ),
    )
