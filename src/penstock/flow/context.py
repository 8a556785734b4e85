"""One run on its way through the flow, and which run the present code belongs to.

`Run` holds what a run needs between its functions. `CURRENT` follows the run into the user's
functions, so that `penstock.save` and `get` know whose values they handle.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from penstock.core.errors import PenstockError

if TYPE_CHECKING:
    from penstock.flow.memory import RunMemory
    from penstock.flow.space import MemorySpace

#: JSON values that cannot be changed, so that a list of them needs only a shallow copy.
_SCALARS = frozenset({float, int, str, bool, type(None)})


class Run:
    """One request while it is served.

    Attributes:
        id: The run id.
        data: The request's data, never changed.
        files: The request's files in the order sent.
        count: Number of data points.
        parameters: The request's parameters, for a stage that takes some.
        value: What the next step works on; after the last stage the result.
        error: Why the run ended early, or None.
        folder: The working directory that became this run's own, or None.
        form: How the request's body wants its answer, or None for the usual way.
        space: The memory shared with other runs.
        memory: Values saved by this run so far, or None when it saved and read none.
        deadline_ns: `time.monotonic_ns()` by which it must be answered; 0 for no limit.
        spent_ns: Nanoseconds of each step so far, in the order of the flow's steps.
        branch: Name of the branch that was chosen for it last; set where there is a choice only.
        at: The stage and function whose code runs, for what it prints.
        joined: For each model call that answered other runs too: the index of its time in
            `spent_ns`, how many runs it answered and with how many rows.
    """

    __slots__ = (
        "at",
        "branch",
        "count",
        "data",
        "deadline_ns",
        "error",
        "files",
        "folder",
        "form",
        "id",
        "joined",
        "memory",
        "parameters",
        "space",
        "spent_ns",
        "value",
    )

    def __init__(
        self,
        run_id: str,
        data: Any,
        files: list[Any],
        count: int,
        space: MemorySpace,
        deadline_ns: int = 0,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self.branch: str | None
        self.id = run_id
        self.data = data
        self.files = files
        self.count = count
        self.space = space
        self.deadline_ns = deadline_ns
        self.parameters: dict[str, Any] = parameters or {}
        self.value: Any = data
        self.error: PenstockError | None = None
        self.folder: str | None = None
        self.form: Any = None
        self.memory: RunMemory | None = None
        self.spent_ns: list[int] = []
        self.at: tuple[int, str] = (0, "")
        self.joined: tuple[tuple[int, int, int], ...] = ()

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_ns != 0 and time.monotonic_ns() > self.deadline_ns


CURRENT: ContextVar[Run | None] = ContextVar("penstock_run", default=None)


def own_copy(data: Any) -> Any:
    """Return a copy of JSON data that may be changed without changing `data`.

    Arrays are returned as they are: those of a request are read-only.
    """
    kind = type(data)
    if kind is list:
        if _SCALARS.issuperset(map(type, data)):
            return data.copy()
        return [own_copy(item) for item in data]
    if kind is dict:
        return {key: own_copy(item) for key, item in data.items()}
    return data
