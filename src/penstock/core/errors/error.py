"""The base of every error: what happened, to which thing, what to do. See the package."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.core.errors.shown import notebook_lines
from penstock.core.numbers import InBranch, place
from penstock.core.redaction import HIDDEN

#: How many of the worker's last lines (the fact `logs`) the text of an error shows.
SHOWN_LOG_LINES = 20

#: Facts that are shown, like the traceback, only to keys that may deploy.
FOR_DEPLOYERS = frozenset({"values"})


class PenstockError(Exception):
    """Base of every error Penstock raises on purpose.

    Args:
        message: What happened and to which thing, as a sentence.
        stage: Stage number, counted from 1, when one stage is concerned. Of a stage inside a
            branch it is that of the flow's stage, and the fact `branch` has the rest.
        function: `"pre"`, `"post"`, `"setup"`, … when one function is concerned.
        type: Name of the user's exception class, when user code raised.
        hint: What to do about it, as a sentence.
        traceback: User-code traceback text; shown only to keys that may deploy.
        facts: Anything else worth handing on, as plain values. What is told by `values`, of the
            names on the user's line that failed, is for those who see the traceback.
    """

    code: ClassVar[str] = "error"
    summary: ClassVar[str] = "Something went wrong."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.summary = (cls.__doc__ or "").partition("\n")[0]

    def __init__(
        self,
        message: str,
        *,
        stage: int | None = None,
        function: str | None = None,
        type: str | None = None,  # noqa: A002 - the JSON field has this name
        hint: str | None = None,
        traceback: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.function = function
        self.type = type
        self.hint = hint
        self.traceback = traceback
        self.facts = facts

    def __str__(self) -> str:
        said = f"{self.message} {self.hint}" if self.hint else self.message
        logs = self.facts.get("logs")
        if not logs:
            return said
        lines = "".join(f"\n  | {line}" for line in logs[-SHOWN_LOG_LINES:])
        return f"{said}\nThe last lines it printed:{lines}"

    def _render_traceback_(self) -> list[str]:
        return notebook_lines(self, self.traceback)

    def __reduce__(self) -> tuple[Any, ...]:
        return (rebuild, (type(self), self.to_dict(with_traceback=True)))

    def to_dict(self, *, with_traceback: bool = False) -> dict[str, Any]:
        """Return the error as the `error` object of an HTTP answer; secrets are hidden."""
        out: dict[str, Any] = {
            "code": self.code,
            "message": HIDDEN.text(self.message),
            "stage": None if self.stage is None else int(self.stage),
            "function": self.function,
            "type": self.type,
            "hint": HIDDEN.text(self.hint) if self.hint else self.hint,
        }
        if with_traceback and self.traceback:
            out["traceback"] = HIDDEN.text(self.traceback)
        facts = {
            name: _hidden(fact)
            for name, fact in self.facts.items()
            if with_traceback or name not in FOR_DEPLOYERS
        }
        if isinstance(self.stage, InBranch):
            facts.setdefault("branch", place(self.stage))
        if facts:
            out["facts"] = facts
        return out


def _hidden(fact: Any) -> Any:
    if isinstance(fact, str):
        return HIDDEN.text(fact)
    if isinstance(fact, list):
        return [_hidden(item) for item in fact]
    if isinstance(fact, dict):
        return {name: _hidden(item) for name, item in fact.items()}
    return fact


def rebuild(kind: type[PenstockError], fields: dict[str, Any]) -> PenstockError:
    """Return the error of class `kind` that `to_dict` described."""
    facts = fields.get("facts") or {}
    named = {k: fields.get(k) for k in ("stage", "function", "type", "hint", "traceback")}
    return kind(str(fields.get("message", "")), **named, **facts)
