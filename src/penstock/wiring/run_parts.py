"""Joins the parts of asynchronous runs; called by `assembly`."""

from __future__ import annotations

from penstock.control.addresses import Allowance
from penstock.control.database import Database
from penstock.control.predict import Predictor
from penstock.control.run_executor import RunOptions
from penstock.control.run_payloads import RunPayloads
from penstock.control.runs import Retention, Runs
from penstock.control.webhook_urls import check_url
from penstock.server.settings import Settings
from penstock.stores.base import BlobStore


def make_runs(
    settings: Settings, database: Database, store: BlobStore, predictor: Predictor
) -> Runs:
    """Return the runs: nothing is run before `Runs.start`."""
    allowed = Allowance(settings.webhook_allow)
    return Runs(
        database,
        RunPayloads(store),
        predictor,
        lambda url: check_url(url, allowed),
        RunOptions(
            at_once=settings.runs_at_once,
            lease_s=settings.run_lease_s,
            max_crashes=settings.run_attempts,
        ),
        Retention(
            finished_s=settings.run_retention_s,
            finished_runs=settings.run_retention_count,
            open_runs=settings.max_open_runs,
        ),
    )
