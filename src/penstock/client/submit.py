"""How runs are submitted: one, or many at the same time. Called by `Endpoint`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any

from penstock.client.progress import counting
from penstock.client.responses import error_of, json_of
from penstock.client.run import Run, Runs
from penstock.client.session import ANSWER_S, Session, patiently
from penstock.codec.request import EncodedRequest
from penstock.core.errors import InvalidCall, Overloaded, RateLimited, UnexpectedAnswer

#: Requests at the same time of `submit_each`.
SUBMITTERS = 8

#: Longest pause before a submit that was refused is tried again, in seconds.
LONGEST_PAUSE_S = 10.0

#: The files of one run, in the order of its data points; None for none.
Files = Sequence[Any] | None


def submit_one(
    session: Callable[[], Session],
    deployment: tuple[str, str, str],
    body: EncodedRequest,
    priority: int,
    idempotency_key: str | None,
    timeout_s: float | None,
) -> Run:
    """Submit a run and return it once it is safe.

    Args:
        session: Gives the connections to the server.
        deployment: Address of the server, project, and name.
        body: The request.
        priority: Runs of higher priority go first.
        idempotency_key: One is made up when missing.
        timeout_s: Seconds an attempt may take; None leaves it to the version.

    Raises:
        PenstockError: The server did not accept it, or cannot be reached.
    """
    server, project, name = deployment
    settings = {"async": "true", "priority": str(priority) if priority else None}
    settings["timeout_s"] = None if timeout_s is None else f"{timeout_s:g}"
    query = "&".join(f"{key}={value}" for key, value in settings.items() if value)
    url = f"{server}/v1/{project}/{name}/predict?{query}"
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    response = patiently(lambda: session().call(url, body, ANSWER_S, headers))
    if response.status_code >= 300:
        raise error_of(response)
    fields = json_of(response)
    if not isinstance(fields, dict) or "run_id" not in fields:
        raise UnexpectedAnswer(f"The answer of {url} to a submit has no run.")
    return Run(session, project, fields["run_id"], fields["state"])


def submit_each(
    submit: Callable[[Any, Files], Run], many: Iterable[Any], files: Iterable[Files] | None
) -> Runs:
    """Submit each of `many`, with its files, as a run; return the runs in that order.

    While the server takes no more, because too many runs are open or the key's rate is used up,
    this waits. A progress bar is shown meanwhile in a terminal and in a notebook.

    Raises:
        InvalidCall: `many` and `files` differ in length; nothing was submitted.
        PenstockError: The first error of a submit.
    """
    items = list(many)
    of_each: list[Files] = [None] * len(items) if files is None else list(files)
    if len(items) != len(of_each):
        raise InvalidCall(
            f"There are {len(items)} runs and {len(of_each)} lists of files.",
            hint="Give one list of files for each run: files=[[...], [...]].",
        )
    ended = Event()
    in_turn = partial(_submit_in_turn, submit, ended)
    runs = []
    with ThreadPoolExecutor(SUBMITTERS) as threads, counting("submitted", len(items)) as step:
        try:
            for run in threads.map(in_turn, items, of_each):
                runs.append(run)
                step(1)
        finally:
            ended.set()  # after an error, or Ctrl-C, nobody waits for a turn
    return Runs(runs)


def _submit_in_turn(
    submit: Callable[[Any, Files], Run], ended: Event, data: Any, files: Files
) -> Run:
    while True:
        try:
            return submit(data, files)
        except (Overloaded, RateLimited) as refused:  # noqa: PERF203 - trying again is the point
            pause_s = min(LONGEST_PAUSE_S, float(refused.facts.get("retry_after_s") or 1.0))
            if ended.wait(pause_s):
                raise
