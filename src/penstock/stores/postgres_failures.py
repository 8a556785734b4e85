"""Turns what psycopg and SQLAlchemy raise about PostgreSQL into `StoreError` with advice.

The stores call it, so nothing above them meets a driver's exception. libpq's messages name host,
port, user and database, and never the password.
"""

from __future__ import annotations

from penstock.core.errors import StoreError, StoreUnavailable

#: Seconds after which a caller may try again.
RETRY_S = 2

#: SQLSTATE (its beginning) to what is wrong and what to do; these do not pass by themselves.
_LASTING = (
    ("28", "refuses the server's user", "Check user and password of PENSTOCK_DATABASE."),
    ("3D000", "does not exist", "Create it: createdb --encoding=UTF8 NAME."),
    ("42501", "does not let the server's user do this", "Let the user own the database."),
    ("25006", "can only be read", "Name the primary, or add target_session_attrs=read-write."),
)

#: Conditions that end by themselves or by what an operator does to the database server.
_PASSING = (
    ("53100", "has no space left on its disk", "Free some space on the database server's disk."),
    ("53300", "takes no more connections", "Raise max_connections, or end other programs."),
    ("55P03", "is locked by somebody else", "End the transaction that holds a lock on its tables."),
    ("57P", "is restarting or stopping", "Try again when it is back."),
    ("08", "cannot be reached", "Check that it runs and that its address is right."),
    ("40", "could not finish a transaction", "Try again."),
    ("53", "has too little of something", "See the log of the database server."),
)


def postgres_failure(error: Exception, where: str) -> StoreError:
    """Return the `StoreError` for an exception of the driver or SQLAlchemy about `where`."""
    if isinstance(error, StoreError):
        return error
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or _state_of(str(cause))
    said = " ".join(str(cause).split())
    for beginning, message, hint in _LASTING:
        if state.startswith(beginning):
            return StoreError(f"The database {where} {message} ({said}).", hint=hint)
    for beginning, message, hint in _PASSING:
        if state.startswith(beginning):
            text = f"The database {where} {message} ({said})."
            return StoreUnavailable(text, hint=hint, retry_after_s=RETRY_S)
    return StoreError(f"The database {where} failed: {said}.")


def _state_of(said: str) -> str:
    """Return the SQLSTATE for the driver's errors that have none: those of the connection."""
    lower = said.lower()
    if "authentication failed" in lower or "no password supplied" in lower or "pg_hba" in lower:
        return "28000"
    if "does not exist" in lower and ("database" in lower or "role" in lower):
        return "3D000" if "database" in lower.split("fatal:")[-1] else "28000"
    if "session is read-only" in lower:
        return "25006"
    if "starting up" in lower or "shutting down" in lower:
        return "57P03"
    if "too many clients" in lower or "remaining connection slots" in lower:
        return "53300"
    lost = ("connect", "server closed", "timeout", "timed out", "ssl", "consuming input", "socket")
    return "08006" if any(word in lower for word in lost) else ""
