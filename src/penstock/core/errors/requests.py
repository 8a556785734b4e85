"""Errors of what a caller sent."""

from __future__ import annotations

from penstock.core.errors.error import PenstockError


class RequestError(PenstockError):
    """The caller's request cannot be served as it is."""

    code = "bad_request"


class MalformedBody(RequestError):
    """The body is not the JSON, multipart or npy it says it is."""

    code = "malformed_body"


class BodyTooLarge(RequestError):
    """The body is larger than the server accepts."""

    code = "body_too_large"


class AddressTooLong(RequestError):
    """The request's address is longer than the server reads."""

    code = "address_too_long"


class HeadersTooLarge(RequestError):
    """The request's header fields are too many or too long."""

    code = "headers_too_large"


class UnsupportedMedia(RequestError):
    """The body's media type is not one the server reads."""

    code = "unsupported_media"


class SlowBody(RequestError):
    """The body did not arrive in time."""

    code = "slow_body"


class Unauthorized(RequestError):
    """No key, or a key this server does not know."""

    code = "unauthorized"


class Forbidden(RequestError):
    """The key is known but may not do this."""

    code = "forbidden"


class NotFound(RequestError):
    """No such project, deployment, version or page."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path exists but not with this HTTP method."""

    code = "method_not_allowed"


class Conflict(RequestError):
    """The request does not fit the present state."""

    code = "conflict"


class InvalidSetting(RequestError, ValueError):
    """A setting has a value outside its range."""

    code = "invalid_setting"


class InvalidWebhookUrl(RequestError, ValueError):
    """A webhook URL is not one that this server may call."""

    code = "invalid_webhook_url"


class Gone(RequestError):
    """It was there and is no more: it expired or was deleted."""

    code = "gone"


class InputMismatch(RequestError):
    """The request's data does not fit the first model that takes it."""

    code = "input_mismatch"


class FilesNotUsed(RequestError):
    """Files were sent to a flow none of whose functions takes files."""

    code = "files_not_used"


class Overloaded(RequestError):
    """The queue of this deployment is full; try again after `retry_after_s`."""

    code = "overloaded"


class RateLimited(Overloaded):
    """The key made more requests than it may; try again after `retry_after_s`."""

    code = "rate_limited"


class StorageFull(RequestError):
    """The model files of the project take all the space they may."""

    code = "storage_full"


class SecretNotSet(RequestError):
    """A deployment declares a secret that its project does not have."""

    code = "secret_not_set"


class BlobCorrupt(RequestError):
    """A blob's bytes do not have the SHA-256 they are named by."""

    code = "blob_corrupt"


class BlobMissing(RequestError):
    """A manifest names a blob the server does not have."""

    code = "blob_missing"
