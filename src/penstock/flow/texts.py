"""What goes into and comes out of a SPACY stage: texts, and documents for its `post`.

`penstock.flow.coerce` makes the converter, `penstock.flow.assemble` wraps the `post`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_origin

import numpy as np

from penstock.core.signatures import waits
from penstock.flow.mismatch import Taker, describe
from penstock.loaders.base import Model

_EXPECTED = "a text or a list of texts"

#: Annotations, as text, of a parameter that takes a list.
_LISTS = ("list", "List", "Sequence", "Iterable", "tuple", "Tuple")


class TextsConverter:
    """Makes a list of texts. Documents that a function or another pipeline made pass as well."""

    def __init__(self, model: Model, taker: Taker) -> None:
        self._taker = taker
        self._longest: int = getattr(model, "max_length", 0)

    def __call__(self, value: Any) -> list[Any]:
        """Return `value` as a list of texts.

        Raises:
            InputMismatch, StageMismatch: It is no text, or one is longer than the model takes.
        """
        if isinstance(value, str) or _is_document(value):
            value = [value]
        elif isinstance(value, np.ndarray):
            value = value.ravel().tolist() if value.ndim <= 1 else value.tolist()
        if not isinstance(value, (list, tuple)):
            raise self._taker.refuse(_EXPECTED, describe(value))
        for index, item in enumerate(value):
            if isinstance(item, str):
                self._check_length(item, index)
            elif not _is_document(item):
                raise self._taker.refuse(_EXPECTED, f"{describe(item)} in row {index}")
        return list(value)

    def _check_length(self, text: str, index: int) -> None:
        if 0 < self._longest < len(text):
            raise self._taker.refuse(
                f"texts of at most {self._longest} characters",
                f"one of {len(text)} characters in row {index}",
                "Cut it into paragraphs and send those as a list.",
            )


def _is_document(value: Any) -> bool:
    return hasattr(value, "vocab") and hasattr(value, "to_json")


def for_one_text(post: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `post` that is given one `Doc` when there was one text, and a list when several.

    A `post` that says it takes a list, by the annotation of its first parameter, always gets one.
    """
    if takes_list(post):
        return post
    if waits(post):

        @functools.wraps(post)
        async def waiting(docs: Any, *others: Any) -> Any:
            return await post(_unwrapped(docs), *others)

        return waiting

    @functools.wraps(post)
    def call(docs: Any, *others: Any) -> Any:
        return post(_unwrapped(docs), *others)

    return call


def _unwrapped(docs: Any) -> Any:
    return docs[0] if len(docs) == 1 else docs


def takes_list(post: Callable[..., Any]) -> bool:
    """Whether the first parameter of a function is annotated as a list or another sequence."""
    try:
        first = next(iter(inspect.signature(post).parameters.values()), None)
    except (TypeError, ValueError):
        return False
    said = None if first is None else first.annotation
    if isinstance(said, str):
        return said.strip("'\"").rpartition("typing.")[2].startswith(_LISTS)
    return (get_origin(said) or said) in {list, tuple, Sequence, Iterable}
