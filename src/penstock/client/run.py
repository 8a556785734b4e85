"""`Run`: a call that the server promised to make, and what one does with it.

Made by `Endpoint.submit` and `Endpoint.submit_many`. A run knows how to ask the server for itself;
waiting is the server's long-poll, so an end is known at once and nothing is polled busily. A
server that is restarted meanwhile does not disturb a wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Event
from typing import Any

from penstock.client.progress import counting
from penstock.client.responses import as_told
from penstock.client.session import Session
from penstock.core.errors import (
    Conflict,
    DeadlineExceeded,
    PenstockError,
    RateLimited,
    ServerUnreachable,
    StoreUnavailable,
)
from penstock.core.states import TERMINAL_RUN_STATES, RunState

#: Seconds of one long-poll, and how long a server or its database may be gone before a wait gives
#: up.
POLL_S = 30.0
GONE_S = 60.0

#: Runs waited for at the same time.
WAITERS = 32

#: What a wait bears for so long.
_PASSING = (ServerUnreachable, StoreUnavailable, RateLimited)

_TERMINAL = frozenset(state.value for state in TERMINAL_RUN_STATES)


class Run:
    """An asynchronous run.

    Args:
        session: Gives the connections to its server.
        project: Its project.
        run_id: Its id.
        state: Its state, as far as known.

    Attributes:
        run_id: Its id.
        facts: What the server said last: state, times, version, attempt, result or error.
    """

    def __init__(
        self, session: Callable[[], Session], project: str, run_id: str, state: str
    ) -> None:
        self.run_id = run_id
        self.facts: dict[str, Any] = {"run_id": run_id, "state": state}
        self._session = session
        self._path = f"/v1/{project}/runs/{run_id}"

    def __repr__(self) -> str:
        return f"Run({self.run_id!r}, {self.state!r})"

    @property
    def state(self) -> str:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`, as last heard."""
        return str(self.facts["state"])

    @property
    def done(self) -> bool:
        """Whether the run is at its end, as last heard."""
        return self.state in _TERMINAL

    def refresh(self) -> Run:
        """Ask the server how the run stands; return the run."""
        self.facts = self._session().get(self._path)
        return self

    def wait(self, timeout_s: float | None = None) -> Run:
        """Return the run once it is at its end.

        Args:
            timeout_s: Seconds to wait; None waits for ever.

        Raises:
            DeadlineExceeded: It is not at its end by then; it goes on.
            ServerUnreachable: The server was gone for a minute.
            StoreUnavailable: Its database was.
        """
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        gone_since: float | None = None
        while not self._ended_as_told():
            left = POLL_S if limit is None else min(POLL_S, limit - time.monotonic())
            try:
                path = f"{self._path}?wait={max(0.0, left):.3f}"
                self.facts = self._session().get(path)
                gone_since = None
            except _PASSING:
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > GONE_S:
                    raise
                time.sleep(0.2)
            if limit is not None and not self.done and time.monotonic() >= limit:
                raise _goes_on(self, timeout_s or 0.0)
        return self

    def _ended_as_told(self) -> bool:
        """Whether the whole end is known: the answer to a submit tells the state only."""
        return self.done and "created_at" in self.facts

    def result(self, timeout_s: float | None = None) -> Any:
        """Return the flow's result once it is there.

        Raises:
            PenstockError: The run's error; `facts["run_id"]` names the run.
            Conflict: It was cancelled.
            DeadlineExceeded: It is not at its end after `timeout_s` seconds; it goes on.
        """
        self.wait(timeout_s)
        if self.state == RunState.SUCCEEDED.value:
            return self.facts["result"]
        raise self.error or Conflict(f"Run {self.run_id} was cancelled.", run_id=self.run_id)

    @property
    def error(self) -> PenstockError | None:
        """The error of a run that failed, as last heard."""
        told = self.facts.get("error")
        if told is None:
            return None
        error = as_told(told)
        error.facts.setdefault("run_id", self.run_id)
        return error

    def cancel(self) -> Run:
        """Cancel the run unless it is at its end; return it as it then is."""
        self.facts = self._session().post(f"{self._path}/cancel")
        return self


class Runs(Sequence[Run]):
    """Several runs, in the order submitted. Iterating gives each once it is at its end.

    A progress bar is shown meanwhile in a terminal and in a notebook, none elsewhere.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = list(runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: Any) -> Any:
        found = self._runs[index]
        return Runs(found) if isinstance(index, slice) else found

    def __iter__(self) -> Iterator[Run]:
        with counting("runs", len(self._runs)) as advance:
            for run in self._runs:
                run.wait()
                advance(1)
                yield run

    def __repr__(self) -> str:
        return f"Runs({len(self._runs)} runs, {sum(run.done for run in self._runs)} at their end)"

    def wait(self, timeout_s: float | None = None) -> Runs:
        """Return once all are at their end; see `wait_all`."""
        wait_all(self._runs, timeout_s)
        return self

    def results(self, timeout_s: float | None = None) -> list[Any]:
        """Return all results in the order submitted; raise the first error among them."""
        self.wait(timeout_s)
        return [run.result() for run in self._runs]

    def cancel(self) -> Runs:
        """Cancel those that are not at their end."""
        for run in self._runs:
            if not run.done:
                run.cancel()
        return self


def wait_all(runs: Iterable[Run], timeout_s: float | None = None) -> list[Run]:
    """Return the runs, in the order given, once all are at their end; show a bar meanwhile.

    Raises:
        DeadlineExceeded: Not all are after `timeout_s` seconds; they go on.
    """
    waiting = list(runs)
    open_ones = [run for run in waiting if not run.done]
    limit = None if timeout_s is None else time.monotonic() + timeout_s
    with counting("runs", len(waiting)) as advance:
        advance(len(waiting) - len(open_ones))
        given_up = Event()
        threads = ThreadPoolExecutor(min(WAITERS, max(1, len(open_ones))))
        try:
            wait_for = partial(_wait_until, timeout_s, limit, given_up)
            futures = {threads.submit(wait_for, run) for run in open_ones}
            _collect(futures, advance)
        finally:  # after an error, or Ctrl-C, the other runs are not waited for
            given_up.set()
            threads.shutdown(wait=False, cancel_futures=True)
    return waiting


def _wait_until(timeout_s: float | None, limit: float | None, given_up: Event, run: Run) -> None:
    """Wait for a run, one long-poll after the other, until nobody wants it any more."""
    while not given_up.is_set():
        left = POLL_S if limit is None else max(0.0, limit - time.monotonic())
        try:
            run.wait(min(POLL_S, left))
        except DeadlineExceeded:
            if left <= POLL_S and limit is not None:
                raise _goes_on(run, timeout_s or 0.0) from None
        else:
            return


def _goes_on(run: Run, after_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"Run {run.run_id} is {run.state} after {after_s:g} s.",
        hint="It goes on; wait again, or cancel it.",
    )


def _collect(futures: set[Future[None]], advance: Callable[[int], None]) -> None:
    while futures:
        done, futures = wait(futures, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
            advance(1)
