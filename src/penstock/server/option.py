"""How one option of the server is declared: a dataclass field with what people read about it.

Used by `penstock.server.settings` and the modules that hold a part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any


def option(
    doc: str,
    default: Any = None,
    *,
    factory: Callable[[], Any] | None = None,
    shown: str | None = None,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """Return a field of a settings dataclass.

    Args:
        doc: What it is, as a sentence of the documentation.
        default: Its value when nobody says anything.
        factory: Makes that value instead.
        shown: What the documentation shows as the default.
        least: Smallest number.
        most: Largest number.
        choices: The only texts allowed.
        secret: Whether only the environment may give it: everybody can read a command line.
    """
    facts = {
        "doc": doc,
        "shown": shown,
        "least": least,
        "most": most,
        "choices": choices,
        "secret": secret,
    }
    if factory is not None:
        return field(default_factory=factory, metadata=facts)
    return field(default=default, metadata=facts)
