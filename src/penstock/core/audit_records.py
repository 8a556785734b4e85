"""What the server remembers of who changed what. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Status of a change that began and whose end nobody wrote down: the server ended in between.
UNFINISHED = 0


@dataclass(frozen=True)
class AuditEntry:
    """One change, or an attempt at one that was refused.

    Attributes:
        at: When.
        project: Where; None for what concerns the whole server.
        key_id: The key that asked for it; empty for the server itself.
        actor: That key's prefix, or `"server"`.
        address: Where the request came from.
        action: What was asked for, like `add_key`.
        target: To which thing, like `default/my-flow/versions/2`.
        status: HTTP status it was answered with; from 400 on it was refused. `UNFINISHED` when the
            server ended before it could tell: look whether the change was made.
        details: What else is worth knowing. Never a key or a secret.
        seq: Its number; grows with every entry.
    """

    at: float
    project: str | None
    key_id: str
    actor: str
    address: str
    action: str
    target: str
    status: int
    details: dict[str, str] = field(default_factory=dict)
    seq: int = 0
