"""The endpoints of the control API, one module per subject."""

from __future__ import annotations

from penstock.server.endpoints import Endpoint
from penstock.server.routes.blobs import ENDPOINTS as BLOBS
from penstock.server.routes.deployments import ENDPOINTS as DEPLOYMENTS
from penstock.server.routes.description import ENDPOINTS as DESCRIPTION
from penstock.server.routes.files import ENDPOINTS as FILES
from penstock.server.routes.health import ENDPOINTS as HEALTH
from penstock.server.routes.inference import ENDPOINTS as INFERENCE
from penstock.server.routes.insight import ENDPOINTS as INSIGHT
from penstock.server.routes.keys import ENDPOINTS as KEYS
from penstock.server.routes.predict import ENDPOINTS as PREDICT
from penstock.server.routes.runs import ENDPOINTS as RUNS
from penstock.server.routes.scaling import ENDPOINTS as SCALING
from penstock.server.routes.system import ENDPOINTS as SYSTEM
from penstock.server.routes.versions import ENDPOINTS as VERSIONS
from penstock.server.routes.webhooks import ENDPOINTS as WEBHOOKS

ENDPOINTS: list[Endpoint] = [
    *HEALTH,
    *INFERENCE,
    *SYSTEM,
    *DESCRIPTION,
    *KEYS,
    *BLOBS,
    *DEPLOYMENTS,
    *SCALING,
    *VERSIONS,
    *PREDICT,
    *RUNS,
    *INSIGHT,
    *WEBHOOKS,
    *FILES,
]
