"""The error for a value that does not fit the model that takes it, with *expected* and *got*.

Used by the converters of `penstock.flow.coerce`, `tensors` and `feeds`. It is `InputMismatch` when
the value came from the request, `StageMismatch` when a function or model of the flow made it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from penstock.core.errors import InputMismatch, PenstockError, StageMismatch


class Origin(NamedTuple):
    """Who produced the value that a stage's model takes.

    Attributes:
        text: For messages, for example `post of stage 1`.
        stage: The stage to blame; None for the request.
        function: `"pre"`, `"post"` or None.
    """

    text: str
    stage: int | None = None
    function: str | None = None

    @property
    def is_request(self) -> bool:
        """Whether the value is the request's data itself."""
        return self.stage is None

    @property
    def is_model(self) -> bool:
        """Whether the value is another model's output, not touched by a function."""
        return self.stage is not None and self.function is None


REQUEST = Origin("the request")


class Taker(NamedTuple):
    """The stage whose model takes the value, and where the value comes from."""

    stage: int
    type_name: str
    origin: Origin

    def refuse(self, expected: str, got: str, hint: str | None = None) -> PenstockError:
        """Return the error for a value that does not fit.

        Args:
            expected: What the model takes, as words.
            got: What came, as words; see `describe`.
            hint: What to do about it.
        """
        origin = self.origin
        verb = "holds" if origin.is_request else "returned"
        if origin.is_model:
            verb = "gave"
        kind = InputMismatch if origin.is_request else StageMismatch
        return kind(
            f"The model of stage {self.stage} ({self.type_name}) expected {expected}; "
            f"{origin.text} {verb} {got}.",
            stage=self.stage if origin.function is None else origin.stage,
            function=origin.function,
            hint=hint or self._advice(expected),
            expected=expected,
            got=got,
        )

    def _advice(self, expected: str) -> str:
        origin = self.origin
        if origin.is_request:
            return f"Send {expected}, or give stage {self.stage} a pre that makes them."
        if origin.is_model:
            return f"Convert it in a post of stage {origin.stage} or a pre of stage {self.stage}."
        return f"Make {origin.text} return {expected}."


def describe(value: Any) -> str:
    """Return type, dtype and shape of any value as words, for example in an error."""
    name = type(value).__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{name} of dtype {str(dtype).removeprefix('torch.')} and shape {tuple(shape)}"
    if isinstance(value, dict):
        return f"dict with the keys {short(list(value))}"
    if isinstance(value, (list, tuple)):
        if not value:
            return f"an empty {name}"
        inner = sorted({type(item).__name__ for item in value[:100]})
        return f"{name} of {len(value)} ({' and '.join(inner)})"
    return f"{name} {short(value)}"


def short(value: Any, limit: int = 80) -> str:
    """Return `repr(value)`, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def ragged_row(rows: list[Any] | tuple[Any, ...]) -> str | None:
    """Return which row of a nested list has another length than the first, or None."""
    if not isinstance(rows[0], (list, tuple)):
        odd = next((i for i, row in enumerate(rows) if isinstance(row, (list, tuple))), None)
        return None if odd is None else f"row {odd} is a list and row 0 is not"
    want = len(rows[0])
    for index, row in enumerate(rows):
        if not isinstance(row, (list, tuple)):
            return f"row {index} is a {type(row).__name__} and row 0 is a list"
        if len(row) != want:
            return f"row {index} has {len(row)} values and row 0 has {want}"
    for index, row in enumerate(rows):
        inner = ragged_row(row) if row else None
        if inner is not None:
            return f"row {index}: {inner}"
    return None


def find_text(value: Any) -> str | None:
    """Return words for the first text or bytes in nested lists, or None."""
    if isinstance(value, (str, bytes, bytearray)):
        return f"{type(value).__name__} {short(value, 40)}"
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            found = find_text(item)
            if found is not None:
                return f"{found} in row {index}" if isinstance(item, (str, bytes)) else found
    return None
