"""Runs the `setup` functions of a flow, once per process that answers calls.

Called when a replica gets ready, after it was forked, and by a local run's loading: what a `setup`
opens (connections, files, threads) belongs to one process. What it returns is there for `get(name)`
in that process, the very objects.
"""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from penstock.core.errors import LoadFailed
from penstock.flow.context import CURRENT, Run
from penstock.flow.event_loop import local_loop
from penstock.flow.mismatch import describe
from penstock.flow.processing import last_user_place, text_of, user_traceback
from penstock.flow.publish import publish_all
from penstock.flow.space import MemorySpace

#: Runs a coroutine on the loop that the flow's `async` functions will run on.
Await = Callable[[Coroutine[Any, Any, Any]], Any]


class Setup(NamedTuple):
    """A `setup` function and the number of its stage."""

    stage: int
    function: Callable[[], Any]

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"setup of stage {self.stage}"


def set_up(
    setups: Sequence[Setup], space: MemorySpace, folder: Path, wait: Await | None = None
) -> None:
    """Call every `setup`, in the order of the stages, and put what they return in `space.given`.

    Each is called like a function of a run: it may read the memory; what it saves is published when
    it has returned.

    Args:
        setups: The functions.
        space: The memory of this process's runs.
        folder: A folder of this process's own; it is the working directory meanwhile, and stays.
        wait: Runs a coroutine; that of local runs by default.

    Raises:
        LoadFailed: One raised, returned no dict of names, or two returned the same name.
    """
    owners: dict[str, Setup] = {}
    for setup in setups:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in _call(setup, space, folder, wait or local_loop().run).items():
            if name in owners:
                raise _refused(
                    setup,
                    f"returned {name!r}, as {owners[name].label} did.",
                    "Give the two different names: get(name) must tell them apart.",
                )
            owners[name] = setup
            space.give(name, value, setup.label)


def _call(setup: Setup, space: MemorySpace, folder: Path, wait: Await) -> dict[str, Any]:
    run = Run("setup", None, [], 0, space)
    before = os.getcwd()
    token = CURRENT.set(run)
    try:
        os.chdir(folder)
        value = setup.function()
        if inspect.isawaitable(value):
            value = wait(_awaited(value))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failed(setup, error) from error
    finally:
        CURRENT.reset(token)
        os.chdir(before)
    publish_all(space, [run])
    if run.error is not None:
        raise _refused(setup, f"saved what cannot be kept: {run.error.message}", run.error.hint)
    return _checked(setup, value)


async def _awaited(value: Any) -> Any:
    return await value


def _checked(setup: Setup, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        got = "None" if value is None else describe(value)
        raise _refused(
            setup,
            f"returned {got}, not a dict.",
            'Return what the functions need by name: return {"tokenizer": tokenizer}.',
        )
    odd = next((name for name in value if not isinstance(name, str)), None)
    if odd is not None:
        raise _refused(
            setup,
            f"returned a dict with the key {odd!r}, which is a {type(odd).__name__}.",
            "Its keys are names for get(name): give texts.",
        )
    return value


def _refused(setup: Setup, what: str, hint: str | None) -> LoadFailed:
    return LoadFailed(
        f"{setup.label} ({_name(setup.function)}) {what}",
        stage=setup.stage,
        function="setup",
        hint=hint,
    )


def _failed(setup: Setup, error: BaseException) -> LoadFailed:
    frames = user_traceback(error)
    place, kind, text = last_user_place(frames), type(error).__name__, text_of(error)
    return LoadFailed(
        f"{setup.label} ({_name(setup.function)}) raised {kind}"
        + (f": {text}" if text else "")
        + (f" ({place})." if place else "."),
        stage=setup.stage,
        function="setup",
        type=kind,
        traceback="".join(traceback.format_exception(type(error), error, frames)),
    )


def _name(function: Any) -> str:
    return f"{getattr(function, '__name__', type(function).__name__)}()"
