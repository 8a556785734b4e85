"""What a route of the control API is: path, handler, who may call it, what goes in and out.

The modules of `penstock.server.routes` each hold a list of these. `penstock.server.app` turns them
into Starlette routes and `penstock.server.openapi` into the API's description, so that neither can
say what the other does not do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from penstock.codec.bundle import Interpreter
from penstock.codec.light import TEXTS, UNREADABLE, is_quick
from penstock.control.audit import Audit
from penstock.control.blobs import Blobs
from penstock.control.deliveries import Deliveries
from penstock.control.deployments import Deployments
from penstock.control.deploys import Deploys
from penstock.control.environments import Environments
from penstock.control.insight.metrics import Metrics
from penstock.control.insight.monitoring import Monitoring
from penstock.control.insight.run_details import Details
from penstock.control.insight.run_list import RunLists
from penstock.control.insight.run_logs import Logs
from penstock.control.insight.series import Series
from penstock.control.keys import Keys
from penstock.control.projects import Projects
from penstock.control.runs import Runs
from penstock.control.secrets import Secrets
from penstock.control.status import SandboxView
from penstock.control.uploads import Uploads
from penstock.control.versions import Versions
from penstock.control.webhook_secrets import WebhookSecrets
from penstock.core.errors import BodyTooLarge, MalformedBody, PenstockError
from penstock.core.records import Scope
from penstock.server.settings import Settings

T = TypeVar("T")

#: Scope of an endpoint that any key may call, in its own project.
ANY_KEY: Literal["any"] = "any"


class Installed(NamedTuple):
    """What functions and models meet on this server: interpreter, distributions, modules, types."""

    interpreter: Interpreter
    packages: dict[str, str]
    modules: list[str]
    model_types: list[str]


@dataclass(frozen=True)
class Insight:
    """What the handlers that show what calls did act on."""

    series: Series
    runs: RunLists
    details: Details
    logs: Logs
    metrics: Metrics
    monitoring: Monitoring


@dataclass(frozen=True)
class Parts:
    """What the handlers act on. Chosen and joined in `penstock.wiring`.

    Attributes:
        version: Penstock's version.
        url: Address that clients reach the server by, without a trailing slash.
        predict: Answers a predict call, the key check included.
        environment: Returns what is installed, for `GET /v1/environment`.
        stores_work: Raises a `PenstockError` when the server's own state cannot be read.
        not_serving: Returns the deployments that should serve and do not, as `project/name`.
        sandbox: Returns how workers are confined; None: not at all.
    """

    settings: Settings
    version: str
    url: str
    keys: Keys
    projects: Projects
    blobs: Blobs
    deployments: Deployments
    deploys: Deploys
    versions: Versions
    runs: Runs
    deliveries: Deliveries
    webhook_secrets: WebhookSecrets
    uploads: Uploads
    insight: Insight
    environments: Environments
    secrets: Secrets
    audit: Audit
    predict: Callable[[Request], Awaitable[Response]]
    environment: Callable[[], Awaitable[Installed]]
    stores_work: Callable[[], Awaitable[None]]
    not_serving: Callable[[], list[str]]
    sandbox: Callable[[], SandboxView | None]


Handler = Callable[[Request, Parts], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    Attributes:
        method: HTTP method.
        path: Path with `{parameters}` as Starlette writes them.
        handler: Answers the request, or raises a `PenstockError`.
        summary: What it does, as a short sentence.
        scope: Scope a key must have; `ANY_KEY` for any key, None for no key at all.
        takes: Type of the JSON body, or a media type when the body is not JSON; None for no body.
        gives: Type of the JSON answer, or a media type; None for an empty answer.
        status: Status of a good answer.
        errors: Errors that this endpoint answers besides those any endpoint may.
        checks_key: Whether the handler checks the key itself.
        checks_grant: Whether the handler checks itself which deployments the key is granted.
        audited: Whether calls are written to the audit log; None: those that change something.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: Scope | Literal["any"] | None
    takes: Any = None
    gives: Any = None
    status: int = 200
    errors: tuple[type[PenstockError], ...] = ()
    checks_key: bool = False
    checks_grant: bool = False
    audited: bool | None = None

    @property
    def is_audited(self) -> bool:
        """Whether calls are written to the audit log."""
        if self.audited is not None:
            return self.audited
        return self.method != "GET" and self.scope in {Scope.DEPLOY, Scope.ADMIN}


async def read_body(request: Request, limit: int, setting: str) -> bytes:
    """Return the body of a control request.

    Raises:
        BodyTooLarge: It has more than `limit` bytes, which `setting` says.
    """
    taken = bytearray()
    async for chunk in request.stream():
        taken += chunk
        if len(taken) > limit:
            raise BodyTooLarge(
                f"The body of {request.method} {request.url.path} has more than {limit} bytes.",
                hint=f"Send less at once, or raise the server's setting {setting}.",
                limit_bytes=limit,
            )
    return bytes(taken)


async def read_json(
    request: Request, kind: type[T], settings: Settings, *, large: bool = False
) -> T:
    """Return the JSON body of a control request as a `kind`.

    Everybody waits while it is read, so most bodies are small: a `large` one may have
    `max_manifest_bytes`, any other `max_control_body_bytes`.

    Raises:
        BodyTooLarge: It has more bytes than that, or more than `max_control_items` allows.
        MalformedBody: It is not JSON, or a field is missing, unknown or of the wrong type.
    """
    setting = "max_manifest_bytes" if large else "max_control_body_bytes"
    raw = await read_body(request, getattr(settings, setting), setting)
    most = settings.max_control_items
    if not is_quick(raw, most):
        raise BodyTooLarge(
            f"The body of {request.url.path} has more than {most} lists and objects, "
            f"or more than {most * TEXTS} texts.",
            hint="Send less at once, or raise the server's setting max_control_items.",
            limit_items=most,
        )
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as error:
        raise MalformedBody(f"The body of {request.url.path} cannot be read: {error}.") from None


def json_answer(value: Any, status: int = 200) -> Response:
    """Return `value` (structs, dataclasses, plain values) as a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
