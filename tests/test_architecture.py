"""The house keeps its shape: imports only go where the dependency table allows, in no circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from compiled_modules import compiled_modules

SOURCE = Path(__file__).parents[1] / "src" / "penstock"

#: Folder -> folders it may import. `wiring` joins everything, so it may import all below it.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "codec": {"core"},
    "loaders": {"core"},
    "stores": {"core"},
    "environments": {"core", "codec"},
    "flow": {"core", "codec", "loaders"},
    "engine": {"core", "codec"},
    "control": {"core", "codec", "stores", "engine", "environments"},
    "client": {"core", "codec", "environments", "flow"},
    "server": {"core", "codec", "control"},
    "dashboard": {"core", "codec", "control"},
    "wiring": {
        "core", "codec", "loaders", "stores", "environments", "flow", "engine", "control",
        "server", "dashboard",
    },
    "cli": {"core", "client", "wiring"},
}  # fmt: skip

#: Only local runs may bring the flow runtime into the client.
ONLY_FOR_LOCAL_RUNS = {"client/conduit.py", "client/local.py", "client/rehearse.py"}

FRAMEWORKS = ("torch", "xgboost", "sklearn", "onnxruntime", "pandas", "numpy", "PIL")
PICKLERS = ("cloudpickle", "joblib", "dill")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = ("penstock", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every penstock module a tree imports, also inside functions, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def folder_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "penstock" and len(parts) > 1 else None


def test_every_folder_has_a_row_in_the_dependency_table() -> None:
    folders = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_go_where_the_table_allows(path: Path) -> None:
    relative = path.relative_to(SOURCE)
    if len(relative.parts) == 1:
        return
    folder = relative.parts[0]
    for module, line in imports_of(ast.parse(path.read_text())):
        target = folder_of(module)
        if target is None or target == folder:
            continue
        if target in MAY_IMPORT:
            assert target in MAY_IMPORT[folder], f"{relative}:{line} imports {module}"
        if target == "flow" and folder == "client":
            assert str(relative) in ONLY_FOR_LOCAL_RUNS, f"{relative}:{line} imports {module}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_nobody_inside_imports_from_the_package_root(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} is a relative import"
            assert node.module != "penstock", f"{path.name}:{node.lineno} imports the root"


def load_time_imports(path: Path) -> set[str]:
    """Modules of ours that `path` imports while it loads (not inside functions)."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {name for name, _ in imports_of(node)}
        waiting.extend(ast.iter_child_nodes(node))
    return found


def test_no_circle_of_modules_at_load_time() -> None:
    known = {name_of(path): path for path in modules()}
    graph = {
        name: {m for m in load_time_imports(path) if m in known and m != name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_stay_small_and_say_what_they_hold(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350, f"{path.name}: a second subject hides in it"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{path.name} has no opening docstring"


def compiled() -> list[Path]:
    names = compiled_modules()
    return [SOURCE.parent.joinpath(*name.split(".")).with_suffix(".py") for name in names]


@pytest.mark.parametrize("path", compiled(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_slice_of_a_compiled_module_is_bounded_by_a_call(path: Path) -> None:
    """Mypyc may make such a call twice; `len` does no harm."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Slice):
            calls = [call for call in ast.walk(node) if isinstance(call, (ast.Call, ast.NamedExpr))]
            texts = [ast.unparse(call) for call in calls]
            assert all(text.startswith("len(") for text in texts), f"{path.name}: {texts}"


@pytest.mark.parametrize("path", compiled(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_type_of_a_compiled_module_is_ignored(path: Path) -> None:
    """Compiled code believes what it is told: a wrong type ends the process."""
    assert "type: ignore" not in path.read_text()


def test_what_is_built_on_a_compiled_class_is_compiled() -> None:
    """An interpreted class cannot be: the module that has it would not load."""
    trees = {path: ast.parse(path.read_text()) for path in modules()}
    homes = {
        node.name: path
        for path in compiled()
        for node in ast.walk(trees[path])
        if isinstance(node, ast.ClassDef) and not _is_protocol(node)
    }
    for path, tree in trees.items():
        imported = {name for name, _ in imports_of(tree)} | {name_of(path)}
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                home = homes.get(ast.unparse(base))
                if home is not None and name_of(home) in imported:
                    assert path in compiled(), f"{path.name}: {node.name}"


def _is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base) == "Protocol" for base in node.bases)


@pytest.mark.parametrize("module", ["penstock.wiring.server_process", "penstock.server.app"])
def test_the_server_process_loads_no_framework_and_no_function_pickler(module: str) -> None:
    code = (
        f"import sys, {module}\nprint([m for m in {FRAMEWORKS + PICKLERS!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_importing_penstock_loads_nothing_heavy() -> None:
    code = (
        "import sys, penstock; print(sorted(m for m in sys.modules if m.startswith('penstock.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
