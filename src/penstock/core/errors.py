"""Every error of Penstock, in one tree.

    PenstockError
    ├── InvalidDeploy        what was given to `deploy` or `Conduit`; nothing was sent
    │   ├── InvalidFlow (ValueError)      InvalidStage (TypeError)     InvalidName (ValueError)
    │   ├── InvalidSignature (TypeError)  MissingModelFile (ValueError)
    │   ├── CaptureTooLarge               CaptureNotPicklable
    │   ├── MissingImports                InterpreterMismatch         InvalidCall (TypeError)
    │   └── InvalidManifest               InvalidRequirement (ValueError)
    ├── RequestError         what a caller sent
    │   ├── MalformedBody     BodyTooLarge     UnsupportedMedia   SlowBody
    │   ├── HeadersTooLarge   AddressTooLong
    │   ├── Unauthorized      Forbidden        NotFound           MethodNotAllowed   Conflict
    │   ├── InputMismatch     FilesNotUsed     Overloaded         InvalidSetting
    │   └── BlobCorrupt       BlobMissing
    │   ├── RateLimited       StorageFull      SecretNotSet
    ├── FlowError            user code and models at run time
    │   ├── FunctionFailed    ReturnedNone     StageMismatch      ModelFailed
    │   ├── UnknownBranch
    │   ├── ResultNotSerialisable              MemoryQuotaExceeded
    │   └── ResultTooLarge    SecretMissing
    ├── EngineError          workers
    │   ├── LoadFailed        ExampleFailed      VersionWithdrawn   EnvironmentFailed
    │   ├── WorkerDied        NotReady         DeadlineExceeded
    │   └── SandboxUnavailable
    ├── StoreError           the server's own state
    ├── ClientError          between client and server
    │   ├── ServerUnreachable                  NoKey              UnexpectedAnswer
    │   └── MissingFramework (ImportError)
    └── InternalError        a defect of Penstock; details are in the server's log
        └── FrameError

An error carries what happened (`message`), to which thing (`stage`, `function`) and what to do
(`hint`). `code` is stable and is what HTTP clients branch on. HTTP statuses live in
`penstock.server.errors`, nowhere else.
"""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.core.numbers import InBranch, place
from penstock.core.redaction import HIDDEN

#: How many of the worker's last lines (the fact `logs`) the text of an error shows.
SHOWN_LOG_LINES = 20


class PenstockError(Exception):
    """Base of every error Penstock raises on purpose.

    Args:
        message: What happened and to which thing, as a sentence.
        stage: Stage number, counted from 1, when one stage is concerned. Of a stage inside a
            branch it is that of the flow's stage, and the fact `branch` has the rest.
        function: `"pre"`, `"post"`, `"setup"`, … when one function is concerned.
        type: Name of the user's exception class, when user code raised.
        hint: What to do about it, as a sentence.
        traceback: User-code traceback text; shown only to keys that may deploy.
        facts: Anything else worth handing on, as plain values.
    """

    code: ClassVar[str] = "error"
    summary: ClassVar[str] = "Something went wrong."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.summary = (cls.__doc__ or "").partition("\n")[0]

    def __init__(
        self,
        message: str,
        *,
        stage: int | None = None,
        function: str | None = None,
        type: str | None = None,  # noqa: A002 - the JSON field has this name
        hint: str | None = None,
        traceback: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.function = function
        self.type = type
        self.hint = hint
        self.traceback = traceback
        self.facts = facts

    def __str__(self) -> str:
        said = f"{self.message} {self.hint}" if self.hint else self.message
        logs = self.facts.get("logs")
        if not logs:
            return said
        lines = "".join(f"\n  | {line}" for line in logs[-SHOWN_LOG_LINES:])
        return f"{said}\nThe last lines it printed:{lines}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.to_dict(with_traceback=True)))

    def to_dict(self, *, with_traceback: bool = False) -> dict[str, Any]:
        """Return the error as the `error` object of an HTTP answer; secrets are hidden."""
        out: dict[str, Any] = {
            "code": self.code,
            "message": HIDDEN.text(self.message),
            "stage": None if self.stage is None else int(self.stage),
            "function": self.function,
            "type": self.type,
            "hint": HIDDEN.text(self.hint) if self.hint else self.hint,
        }
        if with_traceback and self.traceback:
            out["traceback"] = HIDDEN.text(self.traceback)
        facts = {name: _hidden(fact) for name, fact in self.facts.items()}
        if isinstance(self.stage, InBranch):
            facts.setdefault("branch", place(self.stage))
        if facts:
            out["facts"] = facts
        return out


def _hidden(fact: Any) -> Any:
    if isinstance(fact, str):
        return HIDDEN.text(fact)
    if isinstance(fact, list):
        return [_hidden(item) for item in fact]
    return fact


def _rebuild(kind: type[PenstockError], fields: dict[str, Any]) -> PenstockError:
    facts = fields.get("facts") or {}
    named = {k: fields.get(k) for k in ("stage", "function", "type", "hint", "traceback")}
    return kind(str(fields.get("message", "")), **named, **facts)


def from_dict(fields: dict[str, Any]) -> PenstockError:
    """Return the error that `to_dict` described; an unknown code gives a plain `PenstockError`."""
    return _rebuild(BY_CODE.get(str(fields.get("code")), PenstockError), fields)


# --- given to deploy or Conduit ---------------------------------------------------------------


class InvalidDeploy(PenstockError):
    """What was given to `deploy` or `Conduit` cannot work; nothing was sent."""

    code = "invalid_deploy"


class InvalidFlow(InvalidDeploy, ValueError):
    """The flow as a whole is not a list of stages."""

    code = "invalid_flow"


class InvalidCall(InvalidDeploy, TypeError):
    """`deploy` or `Conduit` was called with its arguments mixed up."""

    code = "invalid_call"


class InvalidStage(InvalidDeploy, TypeError):
    """One stage has a part of the wrong kind."""

    code = "invalid_stage"


class InvalidName(InvalidDeploy, ValueError):
    """A name is not 1 to 20 lower-case letters, digits and inner hyphens."""

    code = "invalid_name"


class InvalidSignature(InvalidDeploy, TypeError):
    """A processing function cannot be called with the allowed arguments."""

    code = "invalid_signature"


class MissingModelFile(InvalidDeploy, ValueError):
    """A stage's path is empty, missing, or not what its model type loads."""

    code = "missing_model_file"


class CaptureTooLarge(InvalidDeploy):
    """A processing function drags along more than 32 MiB."""

    code = "capture_too_large"


class CaptureNotPicklable(InvalidDeploy):
    """A processing function uses a value that cannot travel."""

    code = "capture_not_picklable"


class MissingImports(InvalidDeploy):
    """A processing function imports what the server does not have."""

    code = "missing_imports"


class UndefinedName(InvalidDeploy, ValueError):
    """A processing function uses a global name that exists nowhere."""

    code = "undefined_name"


class InterpreterMismatch(InvalidDeploy):
    """Functions made by one Python version would be loaded by another."""

    code = "interpreter_mismatch"


class ModelRunsCode(InvalidDeploy):
    """A model can run code when it is loaded, and the server refuses such models."""

    code = "model_runs_code"


class InvalidRequirement(InvalidDeploy, ValueError):
    """A requirement cannot be read, or names something that does not travel."""

    code = "invalid_requirement"


class InvalidManifest(InvalidDeploy):
    """An uploaded bundle does not describe itself correctly."""

    code = "invalid_manifest"


# --- what a caller sent -----------------------------------------------------------------------


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


# --- user code and models ---------------------------------------------------------------------


class FlowError(PenstockError):
    """User code or a model failed while serving a run."""

    code = "flow_failed"


class FunctionFailed(FlowError):
    """A processing function raised."""

    code = "function_failed"


class ReturnedNone(FlowError):
    """A processing function returned nothing."""

    code = "returned_none"


class UnknownBranch(FlowError):
    """The function that chooses a branch named one that does not exist."""

    code = "unknown_branch"


class StageMismatch(FlowError):
    """What a function or model returned does not fit the next model."""

    code = "stage_mismatch"


class ModelFailed(FlowError):
    """A model's framework raised."""

    code = "model_failed"


class ResultNotSerialisable(FlowError):
    """The last result holds something that has no JSON form."""

    code = "result_not_serialisable"


class ResultTooLarge(FlowError):
    """The answer is larger than the server passes on."""

    code = "result_too_large"


class SecretMissing(FlowError, LookupError):
    """A function asked for a secret that does not exist or that it does not declare."""

    code = "secret_missing"


class MemoryQuotaExceeded(FlowError):
    """A saved value is too large, or the memory of the deployment is full."""

    code = "memory_quota_exceeded"


class UploadFailed(FlowError):
    """A processing function gave `upload` something that cannot be stored."""

    code = "upload_failed"


class FileQuotaExceeded(UploadFailed):
    """An uploaded file is too large, or the files of the project take all the space they may."""

    code = "file_quota_exceeded"


# --- workers ----------------------------------------------------------------------------------


class EngineError(PenstockError):
    """A worker could not serve."""

    code = "engine_failed"


class LoadFailed(EngineError):
    """A version could not be loaded; the version before it keeps serving."""

    code = "load_failed"


class EnvironmentFailed(EngineError):
    """The environment of a version could not be built; the version before it keeps serving."""

    code = "environment_failed"


class ExampleFailed(EngineError):
    """A version loaded but did not answer its example."""

    code = "example_failed"


class WorkerDied(EngineError):
    """The worker died while it held this call."""

    code = "worker_died"


class VersionWithdrawn(EngineError):
    """A new version failed in its first minutes and the one before it serves again."""

    code = "version_withdrawn"


class SandboxUnavailable(EngineError):
    """Workers cannot be confined as the server's settings require; none is started."""

    code = "sandbox_unavailable"


class NotReady(EngineError):
    """No replica is ready and none became ready in time."""

    code = "not_ready"


class DeadlineExceeded(EngineError):
    """The call did not finish within its time limit."""

    code = "deadline_exceeded"


# --- server state, client, defects ------------------------------------------------------------


class StoreError(PenstockError):
    """The server could not read or write its own state."""

    code = "store_failed"


class ClientError(PenstockError):
    """Client and server could not talk."""

    code = "client_error"


class ServerUnreachable(ClientError):
    """No server answers at the address."""

    code = "server_unreachable"


class MissingFramework(ClientError, ImportError):
    """A model's library is not installed where the flow is to run locally."""

    code = "missing_framework"


class NoKey(ClientError):
    """No API key was given and none was found."""

    code = "no_key"


class UnexpectedAnswer(ClientError):
    """The server's answer is not what this client understands."""

    code = "unexpected_answer"


class InternalError(PenstockError):
    """A defect of Penstock. The server's log has the traceback under the same run id."""

    code = "internal"


class FrameError(InternalError):
    """A worker and the server do not understand each other; the connection is given up."""

    code = "frame_error"


def all_errors() -> list[type[PenstockError]]:
    """Return every error class, the base first, each parent before its children."""
    found: list[type[PenstockError]] = []
    waiting: list[type[PenstockError]] = [PenstockError]
    while waiting:
        kind = waiting.pop(0)
        found.append(kind)
        waiting.extend(kind.__subclasses__())
    return found


BY_CODE: dict[str, type[PenstockError]] = {kind.code: kind for kind in all_errors()}
