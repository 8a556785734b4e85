"""Reads the query part of a control request: numbers and choices, with errors that say the range.

Used by the route modules.
"""

from __future__ import annotations

from starlette.requests import Request

from penstock.core.errors import InvalidSetting


def query_number(request: Request, name: str, least: float, most: float) -> float | None:
    """Return a number of the query, or None if it is not there.

    Raises:
        InvalidSetting: It is no number, or out of range.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise InvalidSetting(f"{name} is {text[:40]!r}; it must be from {least:g} to {most:g}.")
    return number


def query_choice(request: Request, name: str, choices: tuple[str, ...]) -> str | None:
    """Return a word of the query that is one of `choices`, or None if it is not there.

    Raises:
        InvalidSetting: It is another word.
    """
    text = request.query_params.get(name)
    if text is not None and text not in choices:
        raise InvalidSetting(f"{name} is {text[:40]!r}; it must be one of {', '.join(choices)}.")
    return text
