"""Calls a user's `pre` or `post` and turns whatever goes wrong into an error that names it.

Nothing a function raises ends the worker: `SystemExit` and `KeyboardInterrupt` too become
`FunctionFailed`. The traceback kept for those who may deploy begins in the user's own code.
"""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from types import TracebackType
from typing import Any, NamedTuple

from penstock.codec.sandbox import hint_for
from penstock.core.errors import FunctionFailed, PenstockError, ReturnedNone
from penstock.core.memory_limit import memory_hint
from penstock.core.numbers import place
from penstock.core.signatures import FILES_AT
from penstock.flow.context import CURRENT, Run, own_copy
from penstock.flow.desk import Desk
from penstock.flow.folders import folder_of
from penstock.flow.harmless import is_harmless
from penstock.flow.seen_values import values_on_line

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PLACES = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_LIBRARIES = (*(place + os.sep for place in _PLACES), "<frozen")


_RETURN = {
    "pre": "Return the value that goes on to the model.",
    "choose": "Return the name of a branch.",
}


class Processing:
    """One processing function of a stage.

    Args:
        function: The user's callable.
        role: `"pre"`, `"post"`, `"model"`, `"choose"` or `"combine"`.
        stage: Stage number, from 1.
        arguments: How many positional arguments it is called with.
        copies: Whether a later function needs the request's data, so that this one gets a copy.

    Attributes:
        is_watched: Whether its calls may touch files or the run's memory, so that the working
            directory and the current run have to be kept for it. True until told otherwise.
    """

    __slots__ = (
        "_arguments",
        "_copies",
        "_function",
        "_is_first_pre",
        "_is_short",
        "is_watched",
        "label",
        "place",
        "role",
        "stage",
    )

    def __init__(
        self, function: Callable[..., Any], role: str, stage: int, arguments: int, copies: bool
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._copies = copies
        self._is_first_pre = role == "pre" and place(stage) == "1"
        self._is_short = arguments == 1 and not (self._is_first_pre and copies)
        self.is_watched = True
        self.role = role
        self.stage = stage
        self.label = f"{role} of stage {stage}"
        self.place = (stage, role)

    def is_harmless(self) -> bool:
        """Whether it is proven that the function only computes, and it is given no files."""
        takes_files = self._arguments == FILES_AT.get(self.role)
        return not takes_files and is_harmless(self._function)

    def __call__(self, run: Run, desk: Desk) -> None:
        """Put the function's result in `run.value`, or why there is none in `run.error`."""
        call = self._watched if self.is_watched else self._unwatched
        try:
            value = call(run, desk)
        except BaseException as error:  # noqa: BLE001 - user code must not end the worker
            run.error = self._failed(error)
            return
        if value is None:
            run.error = self._returned_none()
        else:
            run.value = value

    def answer(self, runs: list[Run], desk: Desk) -> bool:
        """Call the function for each run; `run.spent_ns` gets the nanoseconds of each call.

        Returns:
            Whether none of them failed.
        """
        short = self._function if self._is_short and not self.is_watched else None
        fine = True
        began = perf_counter_ns()
        for run in runs:
            if short is None:
                self(run, desk)
            else:
                try:
                    value = short(run.value)
                except BaseException as error:  # noqa: BLE001 - as in `__call__`
                    run.error = self._failed(error)
                else:
                    if value is None:
                        run.error = self._returned_none()
                    else:
                        run.value = value
            ended = perf_counter_ns()
            run.spent_ns.append(ended - began)
            began = ended
            if run.error is not None:
                fine = False
        return fine

    def _unwatched(self, run: Run, _desk: Desk) -> Any:
        return self._function(run.value) if self._is_short else self._function(*self._prepare(run))

    def _watched(self, run: Run, desk: Desk) -> Any:
        CURRENT.set(run)
        run.at = self.place
        desk.before(run)
        try:
            return self._unwatched(run, desk)
        finally:
            desk.after(run)

    def _prepare(self, run: Run) -> tuple[Any, ...]:
        value = run.value
        if self._is_first_pre and self._copies:
            value = own_copy(run.data)
        if self._arguments == 1:
            return (value,)
        if FILES_AT.get(self.role) == 2:
            return (value, self._files(run))
        data = own_copy(run.data) if self._copies else run.data
        return (value, data) if self._arguments == 2 else (value, data, self._files(run))

    @staticmethod
    def _files(run: Run) -> list[Any]:
        for file in run.files:
            file.directory = partial(folder_of, run)
            file.rewind()
        return run.files.copy()

    def _name(self) -> str:
        name = getattr(self._function, "__name__", type(self._function).__name__)
        return f"{name}()" if name != "<lambda>" else "a lambda"

    def _returned_none(self) -> ReturnedNone:
        return ReturnedNone(
            f"{self.label} ({self._name()}) returned None.",
            stage=self.stage,
            function=self.role,
            hint=_RETURN.get(self.role, "Return the value that goes on."),
        )

    def _failed(self, error: BaseException) -> PenstockError:
        if isinstance(error, PenstockError):
            error.stage = error.stage or self.stage
            error.function = error.function or self.role
            return error
        frames = user_traceback(error)
        last = last_user_frame(frames)
        line = None if last is None else place_in(last)
        kind = type(error).__name__
        text = text_of(error)
        failed = FunctionFailed(
            f"{self.label} ({self._name()}) raised {kind}"
            + (f": {text}" if text else "")
            + (f" ({line})." if line else "."),
            stage=self.stage,
            function=self.role,
            type=kind,
            hint=hint_for(error) or memory_hint(error),
            traceback="".join(traceback.format_exception(type(error), error, frames)),
        )
        failed.__cause__ = error
        if last is not None and line is not None:
            failed.facts["place"] = line._asdict()
            failed.facts["values"] = values_on_line(last.tb_frame, last.tb_lineno)
        return failed


def user_traceback(error: BaseException) -> TracebackType | None:
    """Return the traceback of `error` from the user's first frame on, without Penstock's frames."""
    kept: list[TracebackType] = []
    at = error.__traceback__
    while at is not None:
        if not at.tb_frame.f_code.co_filename.startswith(_OURS):
            kept.append(at)
        at = at.tb_next
    rebuilt: TracebackType | None = None
    for frame in reversed(kept):
        rebuilt = TracebackType(rebuilt, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return rebuilt


class UserPlace(NamedTuple):
    """A line of the user's own code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def last_user_frame(frames: TracebackType | None) -> TracebackType | None:
    """Return the last entry of a traceback that is in no library, or None."""
    last = None
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_LIBRARIES):
            last = frames
        frames = frames.tb_next
    return last


def place_in(entry: TracebackType) -> UserPlace:
    """Return where an entry of a traceback is."""
    code = entry.tb_frame.f_code
    return UserPlace(os.path.basename(code.co_filename), entry.tb_lineno, code.co_name)


def last_user_place(frames: TracebackType | None) -> UserPlace | None:
    """Return the place of the last entry of a traceback that is in no library, or None."""
    last = last_user_frame(frames)
    return None if last is None else place_in(last)


def text_of(error: BaseException, limit: int = 500) -> str:
    """Return the message of an exception of the user's, cut to `limit` characters."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may fail as well
        return "(its message cannot be read)"
    return text if len(text) <= limit else text[:limit] + "…"
