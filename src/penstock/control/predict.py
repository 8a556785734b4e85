"""The way of one predict call from its path and key to a running version.

Holds the route table. `penstock.control.serving` changes it; the gateway and the Starlette predict
route read it. Everything here runs on the event loop and is on the hot path: a call costs two
dictionary look-ups, one key check and one object.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from penstock.codec.frames import SHOW_TRACEBACK
from penstock.control.concealed import without_traceback
from penstock.control.route import Route
from penstock.control.run_ids import RunIds
from penstock.control.tally import Tally
from penstock.core.errors import Forbidden, InternalError, NotFound, NotReady
from penstock.core.records import KeyRecord, Scope
from penstock.engine.base import Answer, Body, Call, FileBody, Pool, VersionKey

#: The last four are the engine's, which the server does not import itself.
__all__ = [
    "DEFAULT_MAX_BODY",
    "Answer",
    "Body",
    "Call",
    "FileBody",
    "PredictCall",
    "Predictor",
    "Route",
    "RunIds",
    "Tally",
    "predict_path",
]

#: Largest body when the server's settings say nothing, in bytes.
DEFAULT_MAX_BODY = 64 * 1024 * 1024

#: Seconds a caller is asked to wait for a deployment that is starting.
STARTING_RETRY_S = 1

_CLOCK = time.monotonic_ns
_MAY_SEE_TRACEBACKS = frozenset({Scope.ADMIN, Scope.DEPLOY})


def predict_path(project: str, deployment: str, number: int | None = None) -> bytes:
    """Return the request path of a deployment's predict call, or of one version's."""
    version = "" if number is None else f"/versions/{number}"
    return f"/v1/{project}/{deployment}{version}/predict".encode("ascii")


class PredictCall(Call):
    """A call that remembers its pool and tally, so that it is counted when it is answered.

    Attributes:
        pool: Where it was handed to.
        route: Where it came in.
        record: The key of who calls; None for an asynchronous run.
        trace: The caller's `traceparent`, maybe empty.
        then: Called with the call and its answer, exactly once, unless it is cancelled.
    """

    __slots__ = ("pool", "record", "route", "tally", "then", "trace")

    pool: Pool
    record: KeyRecord | None
    trace: bytes
    route: Route
    tally: Tally
    then: Callable[[Call, Answer], None]

    @property
    def sees_traceback(self) -> bool:
        """Whether who asks may see a traceback of user code; a run is asked for by its reader."""
        return self.record is None or self.record.scope in _MAY_SEE_TRACEBACKS


def _finished(call: Call, answer: Answer) -> None:
    counted = cast("PredictCall", call)
    tally = counted.tally
    took = _CLOCK() - call.arrived_ns
    tally.took_ns.append(took)
    if tally.skip:  # of many calls a second an even sample says where time goes
        tally.skip -= 1
    else:
        tally.skip = tally.stride - 1
        tally.timings.append(answer.timing)
    if not answer.code and tally.on_answer is not None:
        tally.on_answer(counted, answer)
    if answer.code or tally.wanted > 0:
        tally.notable(counted, answer, took)
        if answer.code and not counted.sees_traceback:
            answer = without_traceback(answer)
    counted.then(call, answer)


class Predictor:
    """The route table, and the start of every predict call.

    Args:
        check_key: Returns the record of the key in an `Authorization` value (raw header bytes,
            empty if there was none) or raises `Unauthorized`, and counts a request of it.
        max_body: Largest body in bytes.
        look_key: Like `check_key`, without counting; `check_key` where nothing is counted.
    """

    def __init__(
        self,
        check_key: Callable[[bytes], KeyRecord],
        *,
        max_body: int = DEFAULT_MAX_BODY,
        look_key: Callable[[bytes], KeyRecord] | None = None,
    ) -> None:
        self.routes: dict[bytes, Route] = {}
        #: Called with a path and its route when the path becomes known, with None when it goes.
        self.on_path: Callable[[bytes, Route | None], None] = lambda _path, _route: None
        self.tallies: dict[VersionKey, Tally] = {}
        #: Called with every tally that is begun.
        self.on_tally: Callable[[VersionKey, Tally], None] = lambda _key, _tally: None
        self.run_ids = RunIds()
        #: Predict requests that were refused before they became calls, by the error's code.
        self.refused: dict[str, int] = {}
        #: Each is called with project and deployment when calls can go to a pool, or never will.
        self.route_listeners: list[Callable[[str, str], None]] = []
        self.check_key = check_key
        self.look_key = look_key or check_key
        self._max_body = max_body

    # --- the table ---

    def set_route(
        self, project: str, deployment: str, number: int | None, pool: Pool, timeout_s: float
    ) -> None:
        """Send the calls of a deployment (`number` None) or of one version to `pool`."""
        tally = self.tallies.get(pool.key)
        if tally is None:
            tally = self.tallies[pool.key] = Tally()
            self.on_tally(pool.key, tally)
        self._point(project, deployment, number, pool, int(timeout_s * 1e9), tally)
        for tell in self.route_listeners:
            tell(project, deployment)

    def set_starting(self, project: str, deployment: str) -> None:
        """Answer the calls of a deployment with 503 until `set_route`."""
        self._point(project, deployment, None, None, 0, Tally())

    def remove_route(self, project: str, deployment: str, number: int | None) -> None:
        """Forget a deployment (`number` None) or one version; nothing happens if it is unknown."""
        path = predict_path(project, deployment, number)
        route = self.routes.pop(path, None)
        if route is not None:
            self.on_path(path, None)
            self._let_go(route.pool, route.tally)
        if number is None:  # whatever waits for its pool waits in vain
            for tell in self.route_listeners:
                tell(project, deployment)

    def _point(
        self,
        project: str,
        deployment: str,
        number: int | None,
        pool: Pool | None,
        timeout_ns: int,
        tally: Tally,
    ) -> None:
        path = predict_path(project, deployment, number)
        route = self.routes.get(path)
        if route is None:
            route = Route(project, deployment, pool, timeout_ns, self._max_body, tally, number)
            self.routes[path] = route
            self.on_path(path, route)
            return
        before = route.pool, route.tally
        route.pool, route.timeout_ns, route.tally = pool, timeout_ns, tally
        self._let_go(*before)

    def _let_go(self, pool: Pool | None, tally: Tally) -> None:
        """Forget a tally when no route uses it any more."""
        if pool is not None and not any(r.tally is tally for r in self.routes.values()):
            self.tallies.pop(pool.key, None)

    # --- the call ---

    def admit(
        self, path: bytes, authorization: bytes, *, starting: bool = False
    ) -> tuple[Route, KeyRecord]:
        """Return the route of a request path and the caller's key.

        The key is checked and charged first: a stranger cannot find out which names exist.

        Args:
            path: The request's path.
            authorization: The value of its `Authorization`, maybe empty.
            starting: Whether the request may be one for a run, which can wait for a deployment
                that is starting: the route's pool may be None then.

        Raises:
            Unauthorized: No key, or an unknown one.
            Forbidden: The key may not predict in the project that the path names.
            NotFound: No such deployment or version.
            NotReady: The deployment is starting.
        """
        record = self.check_key(authorization)
        return self.route_for(path, record, starting=starting), record

    def route_for(self, path: bytes, record: KeyRecord, *, starting: bool = False) -> Route:
        """Return the route of a request path for a key that was checked; see `admit`.

        Raises:
            Forbidden: The key may not predict in the project that the path names.
            NotFound: No such deployment or version.
            NotReady: The deployment is starting.
        """
        route = self.routes.get(path)
        if route is None:
            raise _no_route(path, record)
        if record.key_id not in route.admitted:
            if not record.allows(Scope.PREDICT, route.project, route.deployment):
                raise _forbidden(record, route.project, route.deployment)
            route.admitted.add(record.key_id)
        if route.pool is None and not starting:
            raise not_ready(route)
        return route

    def start(
        self,
        route: Route,
        record: KeyRecord,
        media_type: bytes,
        body: Body,
        on_done: Callable[[Call, Answer], None],
        flags: int = 0,
        *,
        run_id: str = "",
        arrived_ns: int = 0,
        trace: bytes = b"",
    ) -> PredictCall:
        """Hand a call to the route's pool and return it.

        `on_done` is called exactly once with the call and its answer, maybe before this returns,
        unless the call is cancelled.

        Args:
            route: As `admit` returned it.
            record: As `admit` returned it; decides whether the answer may show tracebacks.
            media_type: The request's `Content-Type`.
            body: The request's body; its descriptor, if any, now belongs to the engine.
            on_done: Takes the answer.
            flags: How the answer is wanted; see `penstock.codec.frames`.
            run_id: The run's id; empty for a fresh one.
            arrived_ns: When the call arrived, in monotonic nanoseconds; 0 for now.
            trace: The request's `traceparent`, if it has one.
        """
        pool = route.pool
        assert pool is not None
        now = arrived_ns or _CLOCK()
        run_id = run_id or self.run_ids.take()
        # The worker always tells the traceback: it is kept with the run, whoever called.
        flags |= SHOW_TRACEBACK
        call = PredictCall(run_id, media_type, body, now, now + route.timeout_ns, _finished, flags)
        call.record = record
        call.caller = record.key_id
        call.trace = trace
        call.pool = pool
        call.route = route
        call.tally = tally = route.tally
        call.then = on_done
        tally.calls += 1
        pool.submit(call)
        return call

    @staticmethod
    def start_run(
        route: Route,
        run_id: str,
        media_type: bytes,
        body: Body,
        on_done: Callable[[Call, Answer], None],
        timeout_s: float | None,
        trace: bytes = b"",
    ) -> PredictCall:
        """Like `start`, for an asynchronous run: `timeout_s` None means the version's limit."""
        pool, now = route.pool, _CLOCK()
        assert pool is not None
        deadline = now + (route.timeout_ns if timeout_s is None else int(timeout_s * 1e9))
        call = PredictCall(run_id, media_type, body, now, deadline, _finished, SHOW_TRACEBACK)
        call.pool, call.tally, call.then = pool, route.tally, on_done
        call.route = route
        call.record = None
        call.trace = trace
        call.tally.calls += 1
        pool.submit(call)
        return call

    def count_refusal(self, code: str, count: int = 1) -> None:
        """Count predict requests that were refused before they became calls."""
        self.refused[code] = self.refused.get(code, 0) + count

    def cancel(self, call: PredictCall) -> None:
        """Give up a call that is not answered: its caller went away."""
        call.tally.cancelled += 1
        call.pool.cancel(call)


def not_ready(route: Route) -> NotReady:
    """Return the error of a call to a deployment that is starting."""
    return NotReady(
        f"Deployment {route.deployment!r} in project {route.project!r} is starting.",
        hint="Try again in a moment.",
        retry_after_s=STARTING_RETRY_S,
    )


def defect() -> InternalError:
    """Return the error for what should not have happened, which was logged."""
    return InternalError("The server failed; its log has the details.")


def flags_for(record: KeyRecord, flags: int) -> int:
    """Return a call's flags with what its key's owner may see."""
    return flags | SHOW_TRACEBACK if record.scope in _MAY_SEE_TRACEBACKS else flags


def _forbidden(record: KeyRecord, project: str, deployment: str) -> Forbidden:
    if record.allows(Scope.PREDICT, project):
        told = f"The key {record.prefix} may not predict with deployment {deployment!r}."
        return Forbidden(told, hint="Use a key that is granted this deployment.")
    return Forbidden(
        f"The key {record.prefix} may not predict in project {project!r}.",
        hint=f"Use a key of project {project!r} with the scope predict, deploy or admin.",
    )


def _no_route(path: bytes, record: KeyRecord) -> Forbidden | NotFound:
    """A key of one project learns nothing about another: 403 there, whether the name exists."""
    parts = path.decode("utf-8", "replace").split("/")
    if len(parts) not in {5, 7} or parts[1] != "v1" or parts[-1] != "predict":
        return NotFound("There is no page at this address.")
    project, deployment = parts[2], parts[3]
    if not record.allows(Scope.PREDICT, project, deployment):
        return _forbidden(record, project, deployment)
    version = f"version {parts[5]} of " if len(parts) == 7 else ""
    return NotFound(
        f"There is no {version}deployment {deployment!r} in project {project!r}.",
        hint="Check the name, or deploy it first.",
    )
