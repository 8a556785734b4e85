"""How many positional arguments a processing function is called with.

Decided once, from the real signature: `pre` takes `(data)` or `(data, files)`, `post` takes
`(result)`, `(result, input_data)` or `(result, input_data, files)`. Arguments are positional; their
names do not matter. A function that accepts several forms (defaults, `*args`) gets the longest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from penstock.core.errors import InvalidSignature

#: The allowed forms by number of arguments.
PRE_FORMS: dict[int, str] = {1: "pre(data)", 2: "pre(data, files)"}
POST_FORMS: dict[int, str] = {
    1: "post(result)",
    2: "post(result, input_data)",
    3: "post(result, input_data, files)",
}

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def positional_count(
    stage: int, role: str, function: Callable[..., Any], forms: dict[int, str]
) -> int:
    """Return how many positional arguments `function` is called with.

    A parameter without a default is always passed. `*args` takes the longest form. Parameters
    with a default are passed too when the form exists: `pre(data, files=None)` gets the files.

    Raises:
        InvalidSignature: No allowed form fits; the message shows the signature and the forms.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise _refuse(stage, role, function, "its signature cannot be read", forms) from None
    named = [p for p in parameters if p.kind in _POSITIONAL]
    required = sum(p.default is p.empty for p in named)
    keyword = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if keyword:
        reason = f"it needs the keyword argument {keyword[0]!r}"
        raise _refuse(stage, role, function, reason, forms)
    most = max(forms)
    takes = most if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(named)
    count = min(takes, most)
    if count < 1:
        raise _refuse(stage, role, function, "it takes no positional argument", forms)
    if required > most:
        raise _refuse(stage, role, function, f"it needs {required} arguments", forms)
    return count


def _refuse(
    stage: int, role: str, function: Callable[..., Any], reason: str, forms: dict[int, str]
) -> InvalidSignature:
    name = getattr(function, "__name__", type(function).__name__)
    try:
        shown = f"{name}{inspect.signature(function)}"
    except (TypeError, ValueError):
        shown = f"{name}(?)"
    return InvalidSignature(
        f"{role} of stage {stage} is {shown}: {reason}.",
        stage=stage,
        function=role,
        hint="Allowed forms: " + ", ".join(forms.values()) + ".",
    )
