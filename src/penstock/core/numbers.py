"""The numbers of stages: plain integers, and those of stages inside a branch.

A stage of the flow has an `int`, from 1. A stage inside a branch has an `InBranch`, an integer too:
that of the flow's stage, so that whoever counts or compares sees the stage everybody sees. As text
it is the whole place, so that every sentence with `stage {number}` names the branch.
"""

from __future__ import annotations


class InBranch(int):
    """The number of a stage inside a branch.

    Args:
        outer: Number of the stage that has the branch; maybe itself inside a branch.
        branch: Name of the branch.
        own: Number of the stage within its branch, from 1.
    """

    outer: int
    branch: str
    own: int

    def __new__(cls, outer: int, branch: str, own: int) -> InBranch:
        """Make the integer of the flow's stage, with the place beside it."""
        made = super().__new__(cls, int(outer))
        made.outer, made.branch, made.own = outer, branch, own
        return made

    def __getnewargs__(self) -> tuple[int, str, int]:  # type: ignore[override] # ours has three
        return (self.outer, self.branch, self.own)

    def __str__(self) -> str:
        return f"{self.own} of branch {self.branch!r} of stage {self.outer}"


def place(number: int) -> str:
    """Return the place of a stage in short, such as `2` or `2.forest.1`."""
    if isinstance(number, InBranch):
        return f"{place(number.outer)}.{number.branch}.{number.own}"
    return str(number)


def timing_name(number: int) -> str:
    """Return the place of a stage as `Server-Timing` names it: `s2`, or `s2-forest-s1`."""
    if isinstance(number, InBranch):
        return f"{timing_name(number.outer)}-{number.branch}-s{number.own}"
    return f"s{number}"
