"""`Text`: what a function returns to have a text answered as it is.

Users' functions make it; `penstock.codec.results` looks for it.
"""

from __future__ import annotations


class Text(str):
    """A text that stands in `result` by itself, not in a list.

    A flow whose last function returns `"yes"` answers `"result": ["yes"]`, as the original did;
    with `Text("yes")` it answers `"result": "yes"`. Everywhere else it is a text like any other.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Text:  # gives the class a signature to show
        """Return the text."""
        return super().__new__(cls, text)


# Functions that use it are pickled with the public path, which every release keeps.
Text.__module__ = "penstock"
