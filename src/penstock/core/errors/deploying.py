"""Errors of what was given to `deploy` or `Conduit`; nothing was sent."""

from __future__ import annotations

from penstock.core.errors.error import PenstockError


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
