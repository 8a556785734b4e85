"""Lets tracebacks of uploaded functions show their source lines.

A worker has no copy of the user's files, but the bundle has the text of each function beside it.
`penstock.flow.assemble` hands that text to `linecache`, where the traceback module looks for lines.
"""

from __future__ import annotations

import inspect
import linecache
from types import FunctionType
from typing import Any


def show_lines(function: Any, text: str) -> None:
    """Let tracebacks find the lines of a function.

    Args:
        function: The unpickled function; other callables are left out.
        text: Its source text, decorators included.
    """
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType):
        return
    file, line = function.__code__.co_filename, function.__code__.co_firstlineno
    known = linecache.cache.get(file)
    lines = list(known[2]) if known is not None and len(known) == 4 and known[1] is None else []
    own = [f"{row}\n" for row in text.splitlines()]
    lines.extend(["\n"] * (line - 1 + len(own) - len(lines)))
    lines[line - 1 : line - 1 + len(own)] = own
    # Without a time of change an entry is never compared with a file on disk.
    linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
