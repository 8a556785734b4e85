"""Joins the parts of the server process: stores, engine, use cases, the HTTP application.

Called by `penstock.wiring.server_process`; everything is chosen here and nowhere else.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from penstock.codec.log_lines import Said
from penstock.control.audit import Audit
from penstock.control.blobs import Blobs
from penstock.control.builds import Builds
from penstock.control.database import Database
from penstock.control.deployments import Deployments
from penstock.control.deploys import Deploys
from penstock.control.environments import Environments
from penstock.control.guard import Guard
from penstock.control.insight.run_logs import Logs
from penstock.control.keys import Keys
from penstock.control.memory import Memory
from penstock.control.pools import Pools, key_of
from penstock.control.predict import Predictor
from penstock.control.prediction_log import PredictionLog
from penstock.control.projects import Projects
from penstock.control.rate_limits import RateLimits
from penstock.control.remains import Remains
from penstock.control.runs import Runs
from penstock.control.secrets import Secrets
from penstock.control.serving import Serving
from penstock.control.storage import Storage
from penstock.control.tally import Tally
from penstock.control.uploads import Uploads
from penstock.control.versions import Versions
from penstock.control.worker_requests import WorkerRequests
from penstock.core.redaction import HIDDEN
from penstock.engine.base import Engine, SaidHandler, VersionKey
from penstock.engine.local.devices import find_devices
from penstock.engine.local.local_engine import LocalEngine
from penstock.engine.local.options import EngineOptions
from penstock.environments.describe import describe
from penstock.server.app import build_app
from penstock.server.endpoints import Installed, Parts
from penstock.server.gateway.route import predict_endpoint
from penstock.server.gateway.run_desk import RunDesk
from penstock.server.settings import Settings
from penstock.stores.base import BlobStore, MemoryQuota
from penstock.stores.build_logs import BuildLogFiles
from penstock.stores.files import FileBlobs
from penstock.stores.sqlite_memory import SqliteMemory
from penstock.wiring.dashboard_parts import make_dashboard
from penstock.wiring.data_folder import DataFolder
from penstock.wiring.environment_parts import make_environments
from penstock.wiring.hand_out_parts import WebhookParts, make_uploads, make_webhooks
from penstock.wiring.house import House
from penstock.wiring.insight_parts import InsightParts, make_insight, open_insight
from penstock.wiring.pool_parts import make_pools, open_keyring
from penstock.wiring.prediction_writer import PredictionWriter
from penstock.wiring.record_store import record_opener
from penstock.wiring.run_parts import make_runs
from penstock.wiring.sandbox_parts import import_guard, sandbox_options
from penstock.wiring.web_parts import gateway_limits, web_options


async def open_database(settings: Settings, folder: DataFolder) -> Database:
    """Open the stores of a data folder, each on its thread."""
    quota = MemoryQuota(
        value_bytes=settings.memory_value_bytes,
        total_bytes=settings.memory_total_bytes,
        names=settings.memory_names,
    )
    return await Database.open(
        record_opener(settings, folder), lambda: SqliteMemory(folder.memory, quota)
    )


def local_engine(
    settings: Settings, folder: DataFolder, requests: WorkerRequests, on_said: SaidHandler
) -> Engine:
    """Return the engine that runs versions as processes of this machine."""
    options = EngineOptions(
        load_timeout_s=settings.load_timeout_s,
        max_replicas=settings.max_replicas,
        sandbox=sandbox_options(settings, folder),
        memory_guard=settings.memory_guard,
        max_parts=settings.max_parts,
        max_nesting=settings.max_nesting,
        max_result_bytes=settings.max_result_bytes,
        devices=find_devices(settings.gpus),
    )
    if settings.start_method != "auto":
        options = dataclasses.replace(options, start_method=settings.start_method)
    return LocalEngine(requests.answer, folder.scratch, options, on_said)


async def build_house(
    settings: Settings,
    folder: DataFolder,
    database: Database,
    url: str,
    engine_of: Callable[[Settings, DataFolder, WorkerRequests, SaidHandler], Engine] | None = None,
) -> House:
    """Join the parts over an open database.

    Args:
        settings: The server's options.
        folder: The data folder, locked.
        database: Its open stores.
        url: Address that clients reach the server by, without a trailing slash.
        engine_of: Makes the engine; `local_engine` by default.
    """
    HIDDEN.add([settings.admin_key, settings.secrets_key])
    store = FileBlobs(folder.blobs)
    # Other interpreters are asked what they are meanwhile.
    finding = asyncio.create_task(
        make_environments(settings, folder.environments, database, store, import_guard(settings))
    )
    projects = Projects(database)
    rates = RateLimits(settings.rate_limit_per_s, settings.rate_limit_burst)
    keys = Keys(database, projects, limits=rates)
    await keys.load()
    secrets = Secrets(database, open_keyring(settings, folder))
    await secrets.settle()
    uploads = make_uploads(settings, folder, database, url)
    requests = WorkerRequests(Memory(database), uploads, secrets)
    thread = await open_insight(folder)
    taken: list[Logs] = []  # the engine comes before the logs it is to write to

    def on_said(key: VersionKey, said: list[Said]) -> None:
        for logs in taken:
            logs.take(key, said)

    engine = (engine_of or local_engine)(settings, folder, requests, on_said)
    pools = make_pools(settings, engine, store, secrets)
    environments = await finding
    pools.environments = environments
    builds = Builds(BuildLogFiles(folder.builds))
    predictor = Predictor(keys.check, max_body=settings.max_body_bytes, look_key=keys.look)
    predictions = PredictionLog(lambda: PredictionWriter(folder.predictions))
    pools.on_start = predictions.note
    runs = make_runs(settings, database, store, predictor)
    desk = RunDesk(runs)
    webhooks = make_webhooks(settings, database, secrets, runs, url, penstock_version())
    insight = make_insight(
        settings,
        database,
        thread,
        predictor,
        pools,
        runs,
        webhooks.alerts,
        penstock_version(),
        lambda: engine.sandbox,
    )
    taken.append(insight.insight.logs)
    _log_predictions(predictor, predictions)
    parts = _parts(
        settings,
        url,
        database,
        store,
        projects,
        keys,
        pools,
        predictor,
        runs,
        desk,
        webhooks,
        uploads,
        environments,
        engine,
        insight,
        builds,
        secrets,
    )
    dashboard = make_dashboard(settings, folder, database, parts, builds, store, predictor)
    app = build_app(parts, dashboard.routes(), web_options(settings, url))
    return House(
        parts,
        database,
        engine,
        pools,
        predictor,
        desk,
        webhooks.sender,
        insight,
        environments,
        predictions,
        folder.predictions,
        app,
    )


def _log_predictions(predictor: Predictor, predictions: PredictionLog) -> None:
    """Have every version's answers told to the prediction log, too."""
    watch = predictor.on_tally

    def on_tally(key: VersionKey, tally: Tally) -> None:
        watch(key, tally)
        predictions.listen(key, tally)

    predictor.on_tally = on_tally


def _parts(
    settings: Settings,
    url: str,
    database: Database,
    store: BlobStore,
    projects: Projects,
    keys: Keys,
    pools: Pools,
    predictor: Predictor,
    runs: Runs,
    desk: RunDesk,
    webhooks: WebhookParts,
    uploads: Uploads,
    environments: Environments,
    engine: Engine,
    insight: InsightParts,
    builds: Builds,
    secrets: Secrets,
) -> Parts:
    def endpoint(project: str, name: str) -> str:
        return f"{url}/v1/{project}/{name}/predict"

    serving = Serving(database, pools, predictor)
    serving.on_switch.append(lambda record, _before: insight.recorder.switched(key_of(record)))
    if settings.auto_rollback_s:
        guard = Guard(
            serving,
            window_s=settings.auto_rollback_s,
            least_calls=settings.auto_rollback_calls,
            judge_functions=settings.auto_rollback_functions == "on",
        )
        serving.on_switch.append(guard.watch)
        serving.on_return.append(guard.resume)
    versions = Versions(database, serving, store)
    slots = settings.starts_at_once
    storage = Storage(database, settings.project_storage_bytes)
    remains = Remains(database, builds)
    remains.on_delete.append(insight.forget)
    deployments = Deployments(database, serving, endpoint, remains, starts_at_once=slots)
    return Parts(
        settings=settings,
        version=penstock_version(),
        url=url,
        keys=keys,
        projects=projects,
        blobs=Blobs(store, database, storage),
        deployments=deployments,
        deploys=Deploys(
            database,
            serving,
            store,
            environments,
            endpoint,
            builds,
            secrets,
            storage,
            remains.clear_before_first,
            refuse_code=settings.models_with_code == "refuse",
        ),
        versions=versions,
        runs=runs,
        deliveries=webhooks.deliveries,
        webhook_secrets=webhooks.secrets,
        uploads=uploads,
        insight=insight.insight,
        environments=environments,
        secrets=secrets,
        audit=Audit(database, settings.audit_retention_s),
        predict=predict_endpoint(predictor, versions.wake, gateway_limits(settings), desk),
        environment=_installed,
        stores_work=lambda: _read_something(projects),
        not_serving=serving.not_serving,
        sandbox=lambda: engine.sandbox,
    )


async def _installed() -> Installed:
    found = await asyncio.to_thread(describe)
    return Installed(found.interpreter, found.packages, found.modules, found.model_types)


async def _read_something(projects: Projects) -> None:
    await projects.list()


def penstock_version() -> str:
    """Return the version of the installed distribution, or `"unknown"`."""
    try:
        return version("penstock")
    except PackageNotFoundError:
        return "unknown"
