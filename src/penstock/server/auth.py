"""Who may call an endpoint of the control API: the key in the `Authorization` header.

Called by `penstock.server.app` before every handler whose endpoint has a scope. The predict path
has its own check, in `penstock.control.predict`.
"""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request

from penstock.control.keys import Keys
from penstock.core.errors import Forbidden
from penstock.core.records import INCLUDED_SCOPES, KeyRecord, Scope

_MAY_SEE_TRACEBACKS = frozenset({Scope.ADMIN, Scope.DEPLOY})


def sees_tracebacks(request: Request) -> bool:
    """Whether a request was admitted with a key that may see tracebacks of user code."""
    key: KeyRecord | None = getattr(request.state, "key", None)
    return key is not None and key.scope in _MAY_SEE_TRACEBACKS


def authorization_of(request: Request) -> bytes:
    """Return the `Authorization` header as it came, empty if there is none."""
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return b""


def require(
    request: Request, keys: Keys, scope: Scope | Literal["any"], *, checks_grant: bool = False
) -> KeyRecord:
    """Return the key of a request, which may act with `scope` in the path's project.

    The scope `"any"` is what every key has in its own project. A path without a project needs a
    key with the scope, of whatever project. A key that is granted some deployments only may act on
    a path that names one of them, and on no path that is about the whole project.

    Args:
        request: The request.
        keys: The keys.
        scope: What the endpoint needs.
        checks_grant: Whether the endpoint looks itself at which deployments the key is granted.

    Raises:
        Unauthorized: No key, or an unknown or revoked one.
        Forbidden: The key is known but may not do this, or not in this project.
    """
    record = keys.check(authorization_of(request))
    project = request.path_params.get("project")
    if scope != "any" and scope not in INCLUDED_SCOPES[record.scope]:
        raise Forbidden(
            f"The key {record.prefix} has {record.scope.value} scope; this needs {scope.value} "
            "scope.",
            hint="Use a key with that scope.",
        )
    if project is not None and record.project not in {None, project}:
        raise Forbidden(
            f"The key {record.prefix} is of another project than {project!r}.",
            hint=f"Use a key of project {project!r}, or an admin key.",
        )
    if project is not None and record.deployments is not None and not checks_grant:
        check_grant(record, request.path_params.get("name"))
    return record


def check_grant(record: KeyRecord, deployment: str | None) -> None:
    """Raise `Forbidden` unless a key may act on a deployment (None: on the whole project)."""
    if record.deployments is None or (deployment is not None and record.grants(deployment)):
        return
    what = "the whole project" if deployment is None else f"deployment {deployment!r}"
    raise Forbidden(
        f"The key {record.prefix} is granted {', '.join(record.deployments)} only, not {what}.",
        hint="Use a key that is not limited to some deployments.",
    )
