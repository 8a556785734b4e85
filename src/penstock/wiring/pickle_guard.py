"""Forbids unpickling in the server process, where only bytes of strangers would be unpickled.

`server_process` calls `install` first thing. An audit hook cannot be removed again, by nobody, so
never install it in a process that loads models.
"""

from __future__ import annotations

import sys
from typing import Any

from penstock.core.errors import InternalError


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        raise InternalError(
            f"Unpickling {arguments[0]}.{arguments[1]} was stopped: the server process never "
            "unpickles."
        )


def install() -> None:
    """Make every unpickler of this process, in C or Python, refuse to look up any class."""
    sys.addaudithook(_hook)


def is_armed() -> bool:
    """Whether looking up a class for a pickle is refused in this process."""
    try:
        sys.audit("pickle.find_class", "penstock", "probe")
    except InternalError:
        return True
    return False
