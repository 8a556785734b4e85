"""The source text of a processing function, for people to read and compare.

The text travels beside the pickle and is never run. Where the text that Python finds is not surely
the function's (exec, several lambdas on a line, an edited file) there is none rather than a wrong
one. Called by `penstock.codec.functions.pack_function`.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
import textwrap
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType
from typing import Any

#: Folder names that IPython's kernel gives to notebook cells.
_CELL_MARKS = ("ipykernel_", "<ipython-input")


@dataclass(frozen=True)
class SourceText:
    """Where a function was written. `text` is dedented; `file` is a base name, never a path."""

    text: str | None
    file: str | None
    line: int | None


def source_of(function: Any) -> SourceText:
    """Return the source text of a callable, as far as it can be known.

    A `functools.wraps` decorator shows the function beneath it, with its decorator lines; a
    callable object shows its class; a partial shows what it completes.
    """
    subject = _subject(function)
    code = getattr(subject, "__code__", None)
    if isinstance(code, CodeType):
        linecache.checkcache(code.co_filename)
        name = code.co_filename
        return SourceText(_text(subject, code), _file(name), code.co_firstlineno)
    try:
        text = textwrap.dedent(inspect.getsource(subject))
        line = inspect.getsourcelines(subject)[1]
        return SourceText(text, _file(inspect.getsourcefile(subject)), line)
    except (OSError, TypeError):
        return SourceText(None, None, None)


def _subject(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, MethodType):
        function = function.__func__
    function = inspect.unwrap(function)
    if isinstance(function, (FunctionType, type)):
        return function
    return type(function)


def _file(name: str | None) -> str | None:
    if not name or (name.startswith("<") and not name.startswith(_CELL_MARKS[1])):
        return None
    return "notebook cell" if any(mark in name for mark in _CELL_MARKS) else os.path.basename(name)


def _text(function: Any, code: CodeType) -> str | None:
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError):
        return None
    if code.co_name == "<lambda>":
        return _lambda_text(text, code)
    return text if _is_definition_of(text, code) else None


def _is_definition_of(text: str, code: CodeType) -> bool:
    """Whether `text` defines a function with the name and the parameters of `code`."""
    try:
        (statement,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        return False
    if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    given = statement.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    count = code.co_argcount + code.co_kwonlyargcount
    return statement.name == code.co_name and names == list(code.co_varnames[:count])


def _lambda_text(text: str, code: CodeType) -> str | None:
    """Return the one lambda expression in `text` that is this function, without what is around."""
    tree = _parse_part(text)
    if tree is None:
        return None
    found = [node for node in ast.walk(tree[0]) if isinstance(node, ast.Lambda)]
    segments = {ast.get_source_segment(tree[1], node) or "" for node in found}
    same = {s for s in segments if len(segments) == 1 or _does_the_same(s, code)}
    return same.pop() if len(same) == 1 else None


def _parse_part(text: str) -> tuple[ast.AST, str] | None:
    """Parse `text`, which may be a part of a longer expression."""
    stripped = text.strip().rstrip(",")
    wrapped = f"({stripped})"
    candidates = (text, stripped, wrapped, "{" + stripped + "}")
    return next(((tree, c) for c in candidates if (tree := _parsed(c)) is not None), None)


def _parsed(text: str) -> ast.AST | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _does_the_same(text: str, code: CodeType) -> bool:
    compiled = compile(text, "<lambda>", "eval").co_consts
    inner = [c for c in compiled if isinstance(c, CodeType)]
    return any(
        (c.co_code, c.co_consts, c.co_names, c.co_varnames)
        == (code.co_code, code.co_consts, code.co_names, code.co_varnames)
        for c in inner
    )
