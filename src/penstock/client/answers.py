"""What an `Endpoint` returns: the whole answer to a call, and the versions of a deployment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The whole answer to a call.

    Attributes:
        result: What the flow returned, as JSON values.
        run_id: The run, as the server's logs name it.
        run_time_ms: Milliseconds from arrival to answer, on the server.
        prediction_ids: One id for each data point, `"<run_id>-<i>"`.
        server_timing: Milliseconds by part (`queue`, `s1-pre`, `s1-model`, …), as the server
            measured them.
    """

    result: Any
    run_id: str
    run_time_ms: float
    prediction_ids: list[str]
    server_timing: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One version of a deployment. `state` is deploying, ready, failed or deleted.

    `stages` has a dict for each stage: `model_type`, `model`, `size_bytes`, `pre`, `post`, and
    `runs_code`, which says whether loading the model's files can run code.
    """

    number: int
    state: str
    active: bool
    created_at: float
    created_by: str
    size_bytes: int
    failure: dict[str, Any] | None = None
    stages: list[dict[str, Any]] | None = None


def read_server_timing(text: str) -> dict[str, float]:
    """Return the milliseconds of a `Server-Timing` header by name; a name twice is added up.

    Entries without a duration are left out.
    """
    found: dict[str, float] = {}
    for entry in text.split(","):
        name, *facts = (part.strip() for part in entry.split(";"))
        for fact in facts:
            key, _, value = fact.partition("=")
            if key == "dur":
                try:
                    found[name] = found.get(name, 0.0) + float(value)
                except ValueError:
                    continue
    return found
