"""Every page and every form's target: method, path below the project, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from penstock.dashboard import (
    builds_page,
    code_page,
    deployment,
    files_page,
    keys_page,
    monitoring_page,
    overview,
    playground,
    run_input,
    run_page,
    runs_page,
    secrets_page,
    settings_page,
    webhooks_page,
)
from penstock.dashboard.parts import Parts
from penstock.dashboard.visit import Visit

#: Answers a page, where to go, a response of its own, or values to be sent as JSON.
Handler = Callable[[Visit, Parts], Awaitable[Any]]

_DEPLOYMENT = "/d/{name}"

#: What is of the whole project: nothing for keys that are granted some deployments only.
OF_THE_PROJECT: frozenset[Handler] = frozenset(
    {
        webhooks_page.secret,
        keys_page.keys,
        keys_page.make_key,
        keys_page.revoke_key,
        secrets_page.secrets,
        secrets_page.set_secret,
        secrets_page.delete_secret,
        settings_page.settings,
    }
)

PAGES: list[tuple[str, str, Handler]] = [
    ("GET", "", overview.overview),
    ("GET", "/start", overview.start),
    ("GET", "/go", overview.go),
    ("GET", "/names", overview.names_of),
    ("GET", "/projects", overview.projects),
    ("GET", "/runs", runs_page.project_runs),
    ("GET", "/runs/{run_id}", run_page.run),
    ("GET", "/runs/{run_id}/files/{number:int}", run_input.input_file),
    ("POST", "/runs/{run_id}/again", run_page.repeat),
    ("POST", "/runs/{run_id}/cancel", run_page.cancel),
    ("POST", "/runs/{run_id}/truths", monitoring_page.tell),
    ("GET", "/files", files_page.files),
    ("POST", "/files/{file_id}/delete", files_page.delete_file),
    ("GET", "/webhooks", webhooks_page.webhooks),
    ("POST", "/webhooks/secret", webhooks_page.secret),
    ("GET", "/webhooks/{delivery_id}", webhooks_page.delivery),
    ("POST", "/webhooks/{delivery_id}/redeliver", webhooks_page.redeliver),
    ("POST", "/webhooks/{delivery_id}/cancel", webhooks_page.cancel),
    ("GET", "/keys", keys_page.keys),
    ("POST", "/keys", keys_page.make_key),
    ("POST", "/keys/{key_id}/revoke", keys_page.revoke_key),
    ("GET", "/secrets", secrets_page.secrets),
    ("POST", "/secrets", secrets_page.set_secret),
    ("POST", "/secrets/{secret}/delete", secrets_page.delete_secret),
    ("GET", "/settings", settings_page.settings),
    ("GET", _DEPLOYMENT, deployment.deployment),
    ("GET", _DEPLOYMENT + "/series", deployment.series),
    ("POST", _DEPLOYMENT + "/delete", deployment.delete),
    ("GET", _DEPLOYMENT + "/runs", runs_page.deployment_runs),
    ("GET", _DEPLOYMENT + "/versions", deployment.versions),
    ("POST", _DEPLOYMENT + "/versions/{number:int}/activate", deployment.activate),
    ("POST", _DEPLOYMENT + "/versions/{number:int}/delete", deployment.delete_version),
    ("GET", _DEPLOYMENT + "/versions/{number:int}/bundle", code_page.bundle),
    ("GET", _DEPLOYMENT + "/code", code_page.code),
    ("GET", _DEPLOYMENT + "/builds", builds_page.builds),
    ("GET", _DEPLOYMENT + "/builds/{number:int}", builds_page.builds),
    ("GET", _DEPLOYMENT + "/monitoring", monitoring_page.monitoring),
    ("GET", _DEPLOYMENT + "/playground", playground.playground),
    ("POST", _DEPLOYMENT + "/playground", playground.send),
    ("GET", _DEPLOYMENT + "/settings", settings_page.deployment_settings),
    ("POST", _DEPLOYMENT + "/settings", settings_page.change_settings),
]
