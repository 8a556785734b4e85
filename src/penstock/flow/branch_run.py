"""A run inside a branch, and the value it takes along.

Used by `penstock.flow.branching`. Branches share everything of a run but its value, its error and
its times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.flow.arrays import is_tensor
from penstock.flow.context import Run

_SCALARS = frozenset({float, int, str, bool, bytes, type(None)})


class BranchRun(Run):
    """A run inside a branch.

    Args:
        parent: The run outside.
        value: What comes to the branch.
    """

    __slots__ = ("parent",)

    def __init__(self, parent: Run, value: Any) -> None:
        self.parent = parent
        self.id = parent.id
        self.data = parent.data
        self.files = parent.files
        self.count = parent.count
        self.space = parent.space
        self.deadline_ns = parent.deadline_ns
        self.form = parent.form
        self.parameters = parent.parameters
        self.value = value
        self.error = None
        self.spent_ns = []
        self.at = parent.at
        self.joined = ()

    @property
    def folder(self) -> str | None:
        """The working directory of the run outside."""
        return self.parent.folder

    @folder.setter
    def folder(self, folder: str | None) -> None:
        self.parent.folder = folder

    @property
    def memory(self) -> Any:
        """The memory of the run outside."""
        return self.parent.memory

    @memory.setter
    def memory(self, memory: Any) -> None:
        self.parent.memory = memory


def own_value(value: Any) -> Any:
    """Return a copy that user code may change; an object that cannot be copied is returned itself.

    Lists, tuples and dicts are copied with what is in them; a request's arrays are read-only.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list or kind is tuple:
        return kind(map(own_value, value))
    if kind is dict:
        return {key: own_value(item) for key, item in value.items()}
    if kind is np.ndarray:
        return value.copy() if value.flags.writeable else value
    if is_tensor(value):
        return value.clone()
    copy = getattr(value, "copy", None)
    return copy() if callable(copy) and not isinstance(value, type) else value
