"""Errors of the server's own state, between client and server, and defects of Penstock."""

from __future__ import annotations

from penstock.core.errors.error import PenstockError


class StoreError(PenstockError):
    """The server could not read or write its own state."""

    code = "store_failed"


class DiskFull(StoreError):
    """A disk of the server is full, so nothing was kept; it works again once there is space."""

    code = "disk_full"


class StoreUnavailable(StoreError):
    """The server's own state cannot be reached just now; the same request may work soon."""

    code = "store_unavailable"


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
