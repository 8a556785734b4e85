"""The endpoints of the control API, one module per subject."""

from __future__ import annotations

from penstock.server.endpoints import Endpoint
from penstock.server.routes.blobs import ENDPOINTS as BLOBS
from penstock.server.routes.deployments import ENDPOINTS as DEPLOYMENTS
from penstock.server.routes.description import ENDPOINTS as DESCRIPTION
from penstock.server.routes.health import ENDPOINTS as HEALTH
from penstock.server.routes.keys import ENDPOINTS as KEYS
from penstock.server.routes.predict import ENDPOINTS as PREDICT
from penstock.server.routes.system import ENDPOINTS as SYSTEM
from penstock.server.routes.versions import ENDPOINTS as VERSIONS

ENDPOINTS: list[Endpoint] = [
    *HEALTH,
    *SYSTEM,
    *DESCRIPTION,
    *KEYS,
    *BLOBS,
    *DEPLOYMENTS,
    *VERSIONS,
    *PREDICT,
]
