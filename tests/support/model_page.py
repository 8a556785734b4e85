"""The tables of `docs/reference/model-types.md`, which tests fill with what they found."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "model-types.md"
HEAD = (
    "| type | form | loads | predicts | equals the library's answer | joined calls | "
    "parallel branch | local = served | runs code on load |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def block(name: str, shown: str) -> str:
    """Return what the page has between the marks of `name`.

    With `PENSTOCK_WRITE_DOCS` set it is replaced by `shown` before.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = PAGE.read_text().partition(begin)
    now, _, after = rest.partition(end)
    if os.environ.get("PENSTOCK_WRITE_DOCS"):
        PAGE.write_text(before + begin + shown + end + after)
        now = shown
    return now
