"""Whether a loaded module still is what its file says.

A module that travels as source is run from its file on the server. If the file was edited after
the import, or a constant was changed from a notebook, the server would run something else than
what was tried here. Called by `penstock.environments.homes` once per local module.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from penstock.environments.code import with_nested

_CONSTANTS = (bool, int, float, str, bytes, tuple, types.NoneType)


def difference(module: ModuleType, path: Path) -> str | None:
    """Return how `module` differs from the file at `path`, as half a sentence, or None."""
    try:
        text = path.read_bytes()
        tree = ast.parse(text)
        compiled = compile(text, str(path), "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError) as error:
        return f"its file cannot be read ({type(error).__name__})"
    on_disk = {_shape(code) for code in with_nested(compiled)}
    for name, code in _loaded_code(module, path):
        if _shape(code) not in on_disk:
            return f"`{name}` differs from the file"
    for name, value in _literals(tree):
        now = vars(module).get(name, value)
        if type(now) in _CONSTANTS and (type(now), now) != (type(value), value):
            return f"`{name}` is {now!r:.40} here and {value!r:.40} in the file"
    return None


def _shape(code: CodeType) -> tuple[Any, ...]:
    """What a code object does, without where it stands."""
    constants = tuple(_constant(constant) for constant in code.co_consts)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars)
    return (*names, code.co_code, constants)


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return _shape(value)
    # The order inside a set depends on the process that compiled it.
    text = str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
    return type(value).__name__, text


def _loaded_code(module: ModuleType, path: Path) -> Iterator[tuple[str, CodeType]]:
    for name, value in list(vars(module).items()):
        members = vars(value) if isinstance(value, type) else {name: value}
        for member in list(members.values()):
            code = member.__code__ if isinstance(member, FunctionType) else None
            if code is not None and Path(code.co_filename) == path:
                yield name, code


def _literals(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Yield `NAME = literal` statements of the file's top level for names assigned only once."""
    assigned: dict[str, int] = {}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            names = [node.id]
        elif isinstance(node, ast.Global):
            names = node.names
        for name in names:
            assigned[name] = assigned.get(name, 0) + 1
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if assigned[name] == 1:
                try:
                    yield name, ast.literal_eval(statement.value)
                except ValueError:
                    continue
