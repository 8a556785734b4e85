"""Which modules a source file imports, read from its syntax tree; the file is not run.

Statements inside functions count as optional here: whether such a function is called is known
only by following the code, which `penstock.environments.reach` does. What stands under
`if TYPE_CHECKING:` or `if __name__ == "__main__":` never runs in a worker and is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from penstock.environments.handlers import FORGIVING


@dataclass(frozen=True)
class SourceImport:
    """One import statement of a file; see `penstock.environments.code.CodeImport`."""

    module: str
    level: int
    names: tuple[str, ...]
    optional: bool


def source_imports(path: Path) -> list[SourceImport]:
    """Return the import statements of the file; empty when it cannot be read or parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found: list[SourceImport] = []
    _walk(tree.body, found, optional=False)
    return found


def _walk(nodes: Iterable[ast.AST], found: list[SourceImport], *, optional: bool) -> None:
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [SourceImport(alias.name, 0, (), optional) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.append(SourceImport(node.module or "", node.level, names, optional))
        elif isinstance(node, ast.If) and _never_in_worker(node.test):
            _walk(node.orelse, found, optional=optional)
        elif isinstance(node, ast.Try):
            forgiven = optional or any(_forgives(handler) for handler in node.handlers)
            _walk(node.body, found, optional=forgiven)
            _walk(node.handlers, found, optional=forgiven)
            _walk([*node.orelse, *node.finalbody], found, optional=optional)
        else:
            lazily = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            _walk(ast.iter_child_nodes(node), found, optional=optional or lazily)


def _never_in_worker(test: ast.expr) -> bool:
    if isinstance(test, ast.Attribute):
        return test.attr == "TYPE_CHECKING"
    if isinstance(test, ast.Name):
        return test.id == "TYPE_CHECKING"
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = [test.left, *test.comparators]
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    texts = {side.value for side in sides if isinstance(side, ast.Constant)}
    return names == {"__name__"} and texts == {"__main__"}


def _forgives(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {kind.id if isinstance(kind, ast.Name) else getattr(kind, "attr", "") for kind in kinds}
    return bool(names & FORGIVING)
