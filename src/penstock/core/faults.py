"""Named places in the code where a test may kill the process, delay it, or make it misbehave.

`fault("run.claimed")` does nothing unless the process was started with `PENSTOCK_FAULTS`, a list
such as `run.claimed=kill:3,run.finishing=sleep:0.2`, which only tests set:

* `kill[:n]`: SIGKILL to this process at the n-th passage (the first by default).
* `raise[:n]`: `InternalError` at the n-th passage.
* `enospc[:n]`, `eio[:n]`, `emfile[:n]`, `eacces[:n]`: that `OSError` at the n-th passage.
* `sleep:seconds`: wait at every passage.
* `skip`: `skipped(name)` is true: the protection of that name is left out. A test of the tests.

Names and passages of one process only; workers and zygotes have none.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from dataclasses import dataclass

from penstock.core.errors import InternalError, InvalidSetting

VARIABLE = "PENSTOCK_FAULTS"

_ERRNOS = {
    "enospc": errno.ENOSPC,
    "eio": errno.EIO,
    "emfile": errno.EMFILE,
    "eacces": errno.EACCES,
}
_KINDS = frozenset({"kill", "raise", "sleep", "skip", *_ERRNOS})


@dataclass
class _Fault:
    kind: str
    amount: float
    passed: int = 0


_faults: dict[str, _Fault] = {}
_lock = threading.Lock()


def fault(name: str) -> None:
    """Mark the place `name`; see the module for what may happen there."""
    if _faults:
        _pass(name)


def skipped(name: str) -> bool:
    """Whether a test wants the protection `name` left out."""
    return bool(_faults) and name in _faults and _faults[name].kind == "skip"


def arm(text: str) -> None:
    """Replace the faults by those `text` lists; none for an empty text.

    Raises:
        InvalidSetting: `text` is not such a list.
    """
    found = dict(_read(entry) for entry in text.split(",") if entry)
    _faults.clear()
    _faults.update(found)


def _read(entry: str) -> tuple[str, _Fault]:
    name, _, action = entry.strip().partition("=")
    kind, _, amount = action.partition(":")
    try:
        known = _Fault(kind, float(amount or 1))
    except ValueError:
        known = _Fault("", 0)
    if not name or known.kind not in _KINDS:
        raise InvalidSetting(f"{VARIABLE} has {entry!r}; it must be name=kind[:number].")
    return name, known


def _pass(name: str) -> None:
    found = _faults.get(name)
    if found is None or found.kind == "skip":
        return
    if found.kind == "sleep":
        time.sleep(found.amount)
        return
    with _lock:
        found.passed += 1
        due = found.passed == int(found.amount)
    if due and found.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif due and found.kind in _ERRNOS:
        number = _ERRNOS[found.kind]
        raise OSError(number, os.strerror(number))
    elif due:
        raise InternalError(f"The fault {name} was armed.")


arm(os.environ.get(VARIABLE, ""))
