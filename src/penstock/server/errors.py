"""Which HTTP status each error has: the only such table.

Used by the gateway, the Starlette app and the generated documentation.
"""

from __future__ import annotations

from penstock.core import errors
from penstock.core.errors import BY_CODE, PenstockError

#: Status by error class, in the order of the documentation: what the caller can mend first, then
#: what the flow's author can mend, then what the operator can mend. A class that is not listed has
#: the status of its nearest listed parent.
STATUSES: dict[type[PenstockError], int] = {
    errors.RequestError: 400,
    errors.MalformedBody: 400,
    errors.InvalidName: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.SlowBody: 408,
    errors.Conflict: 409,
    errors.BlobMissing: 409,
    errors.Gone: 410,
    errors.BodyTooLarge: 413,
    errors.StorageFull: 413,
    errors.AddressTooLong: 414,
    errors.UnsupportedMedia: 415,
    errors.InputMismatch: 422,
    errors.FilesNotUsed: 422,
    errors.InvalidSetting: 422,
    errors.InvalidWebhookUrl: 422,
    errors.BlobCorrupt: 422,
    errors.InvalidDeploy: 422,
    errors.EnvironmentFailed: 422,
    errors.SecretNotSet: 422,
    errors.LoadFailed: 422,
    errors.ExampleFailed: 422,
    errors.Overloaded: 429,
    errors.RateLimited: 429,
    errors.HeadersTooLarge: 431,
    errors.FlowError: 500,
    errors.StoreError: 500,
    errors.InternalError: 500,
    errors.PenstockError: 500,
    errors.EngineError: 502,
    errors.WorkerDied: 502,
    errors.NotReady: 503,
    errors.SandboxUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.DiskFull: 507,
}

#: Statuses whose answers carry `Retry-After`.
RETRY_STATUSES = frozenset({429, 503})

_by_code: dict[str, int] = {}


def status_of(error: type[PenstockError] | PenstockError | str) -> int:
    """Return the HTTP status of an error class, of an error, or of an error code.

    An empty code is success (200); an unknown code is a defect (500).
    """
    if isinstance(error, str):
        status = _by_code.get(error)
        return status if status is not None else _learn(error)
    kind = error if isinstance(error, type) else type(error)
    return next(STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES)


def _learn(code: str) -> int:
    if not code:
        status = 200
    elif code in BY_CODE:
        status = status_of(BY_CODE[code])
    else:
        return 500  # not remembered: what a worker makes up must not fill our memory
    _by_code[code] = status
    return status
