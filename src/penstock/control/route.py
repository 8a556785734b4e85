"""Where the calls to one path go. Kept in the route table of `predict`."""

from __future__ import annotations

from penstock.control.tally import Tally
from penstock.engine.base import Pool


class Route:
    """Where calls to one path go: one object for as long as the path is known.

    A call whose body is still arriving holds the route it was admitted by. When another version
    takes over, the route is changed in place, so that such a call goes to the version that serves
    when its body is there, and not to one that takes no more calls.

    Attributes:
        project: Project of the deployment.
        deployment: Name of the deployment.
        pool: The running version, or None while the deployment is starting.
        timeout_ns: Nanoseconds a call may take from arrival to answer.
        max_body: Largest body in bytes.
        number: The version, when the path names one.
        tally: What the version has answered; shared by all its paths.
        admitted: Ids of the keys that may call it, as found out so far. What a key may do never
            changes, and a revoked key does not get as far as this.
    """

    __slots__ = (
        "admitted",
        "deployment",
        "max_body",
        "number",
        "pool",
        "project",
        "tally",
        "timeout_ns",
    )

    def __init__(
        self,
        project: str,
        deployment: str,
        pool: Pool | None,
        timeout_ns: int,
        max_body: int,
        tally: Tally,
        number: int | None = None,
    ) -> None:
        self.number = number
        self.project = project
        self.deployment = deployment
        self.pool = pool
        self.timeout_ns = timeout_ns
        self.max_body = max_body
        self.tally = tally
        self.admitted: set[str] = set()
