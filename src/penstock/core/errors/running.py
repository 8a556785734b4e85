"""Errors of user code and models at run time."""

from __future__ import annotations

from penstock.core.errors.error import PenstockError


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
