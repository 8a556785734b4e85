"""`get_secret`, as processing functions use it, and what a worker was given of secrets.

A worker has the secrets its deployment declares, in memory only, and asks the server for their
present values now and then. Without a server they come from `secrets.json` or `secrets.yaml`
beside the user's code, or from the environment.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.codec.memory import AskSecrets, SecretValues
from penstock.core.errors import SecretMissing
from penstock.core.redaction import HIDDEN
from penstock.flow.secret_files import read_secret_file
from penstock.flow.space import Ask

#: Seconds after which the server is asked again.
FRESH_S = 5.0


@dataclass
class _Worker:
    """What this worker has. `names` are those its deployment declares."""

    deployment: str
    values: dict[str, str] = field(repr=False)
    ask: Ask | None = None
    asked_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


_worker: list[_Worker] = []


def install(deployment: str, values: Mapping[str, str]) -> None:
    """Make this process a worker that was given `values`; files and environment do not count."""
    HIDDEN.add(values.values())
    _worker[:] = [_Worker(deployment, dict(values), asked_at=time.monotonic())]


def connect(ask: Ask) -> None:
    """Have the worker ask the server for newer values with `ask`."""
    for worker in _worker:
        worker.ask = ask


def get_secret(key: str) -> str:
    """Return a secret.

    In a deployment it is one of the project's secrets (`penstock secrets set`) that the deployment
    declares; calls with the name written out are declared by themselves, others with `secrets=`. A
    changed secret is seen within seconds.

    Elsewhere it is read from `secrets.json`, else from `secrets.yaml`, in the working directory or
    a folder above it; if there is neither file, from the environment.

    Args:
        key: The secret's name.

    Returns:
        The secret, always as text.

    Raises:
        SecretMissing: There is no such secret, it is empty, or the deployment does not declare it.
    """
    if _worker:
        return _from_worker(_worker[0], key)
    folder = _start_folder()
    found = read_secret_file(folder)
    values: Mapping[str, str] = os.environ if found is None else found.values
    value = values.get(key, "")
    if not value:
        where = "the environment" if found is None else str(found.path)
        raise SecretMissing(
            f"Secret not found for key {key!r}: {where} does not have it.",
            hint="Write it to secrets.json beside your code, or set the environment variable."
            if found is None
            else f"Add it to {found.path.name}; while that file exists the environment is not "
            "consulted.",
        )
    return value


def _from_worker(worker: _Worker, key: str) -> str:
    _refresh(worker)
    value = worker.values.get(key)
    if value is None:
        raise SecretMissing(
            f"Secret not found for key {key!r}: {worker.deployment} does not declare it, or it is "
            "not set.",
            hint=f"Deploy with secrets=[{key!r}] and run `penstock secrets set {key}`.",
        )
    return value


def _refresh(worker: _Worker) -> None:
    """Ask the server for the present values if that was long ago; an unset secret stays known."""
    if worker.ask is None or time.monotonic() - worker.asked_at < FRESH_S:
        return
    with worker.lock:
        worker.asked_at = time.monotonic()
        answer = worker.ask(AskSecrets())
        if isinstance(answer, SecretValues):
            HIDDEN.add(answer.values.values())
            worker.values = answer.values


def _start_folder() -> Path:
    """Return the folder the user works in: a local run has a working directory of its own."""
    return Path(_home[0] if _home else os.getcwd())


_home: list[str] = []


def run_from(folder: str | None) -> None:
    """Say where the user works while a local run has another working directory; None ends that."""
    _home[:] = [] if folder is None else [folder]


# Functions that use it are pickled with the public path, which every release keeps.
get_secret.__module__ = "penstock"
