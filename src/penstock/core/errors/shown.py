"""How an error looks in a notebook: the user's own lines and what happened, not this library's.

IPython asks an exception for it (`_render_traceback_`). The whole traceback is where it always is,
in `error.__traceback__`.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traceback import FrameSummary

_HOME = str(Path(__file__).parents[2])


def notebook_lines(error: BaseException, raised: str | None) -> list[str]:
    """Return the lines to show.

    Args:
        error: The error.
        raised: The traceback of the flow's code, where that is what failed.
    """
    import traceback

    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_ipythons(f)]
    own = list(takewhile(lambda frame: not frame.filename.startswith(_HOME), frames))
    shown = [line.rstrip("\n") for line in traceback.format_list(own)]
    if raised:
        shown += ["", "In the flow:", raised.rstrip("\n"), ""]
    return [*shown, f"{type(error).__name__}: {error}"]


def _is_ipythons(frame: FrameSummary) -> bool:
    return "IPython" in Path(frame.filename).parts
