"""Whether a key that is granted some deployments only may see a run.

Called by the routes that name a run; those that list runs filter them instead.
"""

from __future__ import annotations

from starlette.requests import Request

from penstock.server.auth import check_grant
from penstock.server.endpoints import Parts


async def check_run(request: Request, parts: Parts) -> None:
    """Refuse a key that is not granted the deployment of the path's run.

    Raises:
        NotFound: There is no such run, or nothing of it was kept.
        Forbidden: It is a run of another deployment.
    """
    key, params = request.state.key, request.path_params
    if key.deployments is None:
        return
    project, run_id = params["project"], params["run_id"]
    call = await parts.insight.details.call(project, run_id)
    if call is not None:
        check_grant(key, call.deployment)
    else:
        check_grant(key, (await parts.runs.get(project, run_id)).deployment)
