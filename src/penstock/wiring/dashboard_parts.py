"""Joins the pages for people with the use cases they show; called by `assembly`."""

from __future__ import annotations

import time

from penstock.control.builds import Builds
from penstock.control.code import Code
from penstock.control.database import Database
from penstock.control.predict import Predictor
from penstock.control.replica_load import ReplicaLoads
from penstock.control.usage import Usage
from penstock.dashboard.parts import Parts as DashboardParts
from penstock.dashboard.site import Dashboard
from penstock.server.endpoints import Parts
from penstock.server.errors import status_of
from penstock.server.load_settings import describe_settings
from penstock.server.settings import Settings
from penstock.stores.base import BlobStore
from penstock.stores.ended_sessions import EndedSessions
from penstock.wiring.data_folder import DataFolder


def make_dashboard(
    settings: Settings,
    folder: DataFolder,
    database: Database,
    parts: Parts,
    builds: Builds,
    store: BlobStore,
    predictor: Predictor,
) -> Dashboard:
    """Return the pages. Raises `StoreError` if a file of their sessions cannot be used."""
    insight = parts.insight
    shown = DashboardParts(
        version=parts.version,
        url=parts.url,
        keys=parts.keys,
        projects=parts.projects,
        deployments=parts.deployments,
        versions=parts.versions,
        code=Code(database, store),
        builds=builds,
        predictor=predictor,
        runs=parts.runs,
        deliveries=parts.deliveries,
        webhook_secrets=parts.webhook_secrets,
        uploads=parts.uploads,
        series=insight.series,
        details=insight.details,
        run_lists=insight.runs,
        logs=insight.logs,
        monitoring=insight.monitoring,
        memory=Usage(),
        loads=ReplicaLoads(),
        settings=lambda: _settings(settings),
        installed=parts.environment,
        status_of=status_of,
        max_body_bytes=settings.max_body_bytes,
        secrets=parts.secrets,
        audit=parts.audit,
        sandbox=parts.sandbox,
    )
    return Dashboard(shown, folder.file_secret(), EndedSessions(folder.sessions, time.time()))


def _settings(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Return name, variable, value and meaning of every option."""
    found = []
    for option in describe_settings():
        value = getattr(settings, option.name)
        hidden = not option.flag and value  # what only the environment may give is a secret
        found.append((option.name, option.environment, "set" if hidden else str(value), option.doc))
    return found
