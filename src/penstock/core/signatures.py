"""How many positional arguments a processing function is called with.

Decided once, from the real signature: `pre` takes `(data)` or `(data, files)`, `post` takes
`(result)`, `(result, input_data)` or `(result, input_data, files)`. Arguments are positional; their
names do not matter. A function that accepts several forms (defaults, `*args`) gets the longest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.core.errors import InvalidSignature

#: The allowed forms by number of arguments.
PRE_FORMS: dict[int, str] = {1: "pre(data)", 2: "pre(data, files)"}
POST_FORMS: dict[int, str] = {
    1: "post(result)",
    2: "post(result, input_data)",
    3: "post(result, input_data, files)",
}

SETUP_FORM = "setup()"
CHOOSE_FORMS: dict[int, str] = {1: "choose(data)", 2: "choose(data, files)"}
COMBINE_FORMS: dict[int, str] = {
    1: "combine(results)",
    2: "combine(results, input_data)",
    3: "combine(results, input_data, files)",
}

#: How many arguments a function of each role has when it takes the files.
FILES_AT: dict[str, int] = {"pre": 2, "choose": 2, "combine": 3, "post": 3}

#: What a `PYTHON` stage may be.
MODEL_FORMS: dict[int, str] = {1: "model(value)"}

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def waits(function: object) -> bool:
    """Whether a function is `async def`, or an object whose `__call__` is."""
    if isinstance(function, type):
        return False
    call = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked, too
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def positional_count(
    stage: int, role: str, function: Callable[..., Any], forms: dict[int, str]
) -> int:
    """Return how many positional arguments `function` is called with.

    A parameter without a default is always passed. `*args` takes the longest form. Parameters
    with a default are passed too when the form exists: `pre(data, files=None)` gets the files. Not
    so where the function is no Python code: the second parameter of `numpy.asarray` is a dtype.

    Raises:
        InvalidSignature: No allowed form fits; the message shows the signature and the forms.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        reason = "it is no Python code and its signature cannot be read; wrap it in a function"
        raise _refuse(stage, role, function, reason, forms) from None
    if inspect.isasyncgenfunction(function):
        reason = "it is an async generator (async def with yield); return one value instead"
        raise _refuse(stage, role, function, reason, forms)
    named = [p for p in parameters if p.kind in _POSITIONAL]
    required = sum(p.default is p.empty for p in named)
    keyword = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if keyword:
        reason = f"it needs the keyword argument {keyword[0]!r}"
        raise _refuse(stage, role, function, reason, forms)
    most = max(forms)
    takes = most if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(named)
    if is_foreign(function):
        takes = max(required, 1) if named or takes else 0
    count = min(takes, most)
    if count < 1:
        raise _refuse(stage, role, function, "it takes no positional argument", forms)
    if required > most:
        raise _refuse(stage, role, function, f"it needs {required} arguments", forms)
    return count


def is_foreign(function: object) -> bool:
    """Whether a callable is no Python code, such as a builtin or a function of NumPy's C code.

    Nobody wrote it for a stage: what its further parameters mean is another matter.
    """
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, type) or hasattr(function, "__code__"):
        return False
    function = getattr(function, "__func__", function)
    call = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked, too
    return not hasattr(function, "__code__") and not hasattr(call, "__code__")


def check_setup(stage: int, function: Callable[..., Any]) -> None:
    """Check that `setup` can be called without arguments.

    Raises:
        InvalidSignature: It cannot.
    """
    forms = {0: SETUP_FORM}
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise _refuse(stage, "setup", function, "it yields; return a dict instead", forms)
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise _refuse(stage, "setup", function, str(error), forms) from None
    except ValueError:
        return  # a builtin that does not say: it is called when the version loads, and shows then


def check_python_model(stage: int, model: Callable[..., Any]) -> None:
    """Check what a `PYTHON` stage holds: `model(value)`, or a class made without arguments.

    Such a class has `predict(self, value)` or `__call__(self, value)`, and may have `setup(self)`,
    which is called once when a replica loads it.

    Raises:
        InvalidSignature: It cannot be called with one value, or the class needs arguments.
    """
    if not isinstance(model, type):
        positional_count(stage, "model", model, MODEL_FORMS)
        return
    predict = getattr(model, "predict", None) or model.__dict__.get("__call__")
    if predict is None:
        raise InvalidSignature(
            f"The class {model.__name__} of stage {stage} has no predict(self, value) method.",
            stage=stage,
            function="model",
            hint="Give it one; a setup(self) method, if there is one, loads what it needs.",
        )
    positional_count(stage, "model", partial(predict, None), MODEL_FORMS)
    if inspect.iscoroutinefunction(getattr(model, "setup", None)):
        raise InvalidSignature(
            f"The setup of the class {model.__name__} of stage {stage} is async def.",
            stage=stage,
            function="model",
            hint="Make it a plain method; open what needs an event loop in the first predict.",
        )
    try:
        inspect.signature(model).bind()
    except TypeError as error:
        raise InvalidSignature(
            f"The class {model.__name__} of stage {stage} cannot be made without arguments: "
            f"{error}.",
            stage=stage,
            function="model",
            hint="Give its arguments defaults, or load what it needs in setup(self).",
        ) from None


def check_builder(stage: int, build: Callable[..., Any]) -> None:
    """Check what makes the module for a file of weights: it is called without arguments.

    Raises:
        InvalidSignature: It needs arguments.
    """
    try:
        inspect.signature(build).bind()
    except (TypeError, ValueError) as error:
        name = getattr(build, "__name__", type(build).__name__)
        raise InvalidSignature(
            f"model of stage {stage} is {name}, which cannot be called without arguments: {error}.",
            stage=stage,
            function="model",
            hint='Give its arguments defaults, or write {"model": lambda: Net(13, 3)}.',
        ) from None


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
