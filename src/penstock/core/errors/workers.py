"""Errors of workers: loading, dying, time."""

from __future__ import annotations

from penstock.core.errors.error import PenstockError


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
