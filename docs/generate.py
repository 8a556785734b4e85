"""Write the reference pages that are made from the code.

python docs/generate.py           rewrite them
python docs/generate.py --check   fail if one is stale (a test does this)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from describe import NOTE, command_page, http_page, python_page

from penstock.core.errors import ClientError, PenstockError, StoreError, all_errors
from penstock.server.errors import status_of
from penstock.server.load_settings import describe_settings

REFERENCE = Path(__file__).parent / "reference"

ERRORS_INTRO = """\
Every error answer of the server has one shape:

```json
{"error": {"code": "input_mismatch", "message": "...", "stage": 1, "function": null,
           "type": null, "hint": "..."}, "run_id": "..."}
```

`code` is stable; branch on it. `message` says what happened and to which thing, `hint` what to do.
`stage` counts from 1, `function` is `pre` or `post`, `type` is the class of the user's exception.
Keys that may deploy also get the user code's `traceback`, and in `facts` as `values` what the names
on the line that failed held. In Python the traceback stands below the error where that is printed
(from 3.11 on), and in notebooks, which leave out this library's own lines.

In Python the same errors are exceptions of `penstock.core.errors`; `PenstockError` catches all.
Errors of the client alone have no status: nothing was sent, or nothing came back."""


def errors_page() -> str:
    """The table of all error codes, by status."""
    rows = []
    for kind in all_errors():
        group = kind.__subclasses__() and kind.__name__.endswith("Error")
        if kind is PenstockError or (group and kind is not StoreError):  # which is raised itself
            continue
        status = "–" if issubclass(kind, ClientError) else str(status_of(kind))
        rows.append((status, kind.code, kind.__name__, kind.summary))
    rows.sort(key=lambda row: (row[0], row[1]))
    table = [f"| {s} | `{code}` | `{name}` | {summary} |" for s, code, name, summary in rows]
    head = ["| status | code | exception | meaning |", "|---|---|---|---|"]
    return "\n".join([NOTE, "# Errors", "", ERRORS_INTRO, "", *head, *table, ""])


def settings_page() -> str:
    """The table of all server options."""
    rows = [
        f"| {f'`{s.flag}`' if s.flag else '–'} | `{s.environment}` | {s.type} "
        f"| {s.default or '–'} | {s.doc} |"
        for s in describe_settings()
    ]
    head = ["| option | environment | type | default | meaning |", "|---|---|---|---|---|"]
    intro = "An option is taken from the argument, else from the environment, else the default."
    return "\n".join([NOTE, "# Settings of the server", "", intro, "", *head, *rows, ""])


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": command_page,
    "errors.md": errors_page,
    "http.md": http_page,
    "python.md": python_page,
    "settings.md": settings_page,
}


def main(check: bool) -> int:
    """Write the pages, or say which are stale."""
    stale = 0
    for name, make in PAGES.items():
        path, text = REFERENCE / name, make()
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if check:
            sys.stdout.write(f"{path.name} is stale: run python docs/generate.py\n")
        else:
            path.write_text(text)
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
