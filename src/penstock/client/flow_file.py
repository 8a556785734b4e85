"""Finds the flow in a Python file, for `penstock deploy file.py:flow`.

The file is run as a module of its folder, so that what it imports from beside it is found, and its
`if __name__ == "__main__":` part is not run. Its functions and classes travel by value, as those of
a script or notebook do: the server never runs the file, which may train models and read data.
A file of `Conduit.create_json_config` is only read.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock.client.conduit import Conduit
from penstock.core.branches import Parallel, Switch
from penstock.core.errors import InvalidCall, InvalidFlow

#: What the flow is called when the command names nothing.
USUAL = "flow"


def find_flow(target: str) -> tuple[Any, str]:
    """Return the flow or `Conduit` that a command names, and a name to deploy it by.

    Args:
        target: `file.py:name`, `file.py` for its `flow` (or its only `Conduit`), or a `.json` file
            of `Conduit.create_json_config`. The name may be that of a function without arguments
            that returns the flow.

    Raises:
        InvalidCall: There is no such file or name, or running the file raised.
        InvalidFlow: What has the name is no flow.
    """
    text, colon, name = target.rpartition(":")
    if not colon or not text.endswith(".py"):
        text, name = target, ""
    path = Path(text).expanduser()
    if not path.is_file():
        raise InvalidCall(
            f"There is no file {text!r} (looked in {Path.cwd()}).",
            hint="Give a Python file and the name of the flow in it: penstock deploy flow.py:flow",
        )
    if path.suffix == ".json":
        conduit = Conduit(from_json=path)
        return conduit, conduit.name
    module = run_file(path)
    found = _named(module, name, path) if name else _only(module, path)
    usual = path.stem.lower().replace("_", "-")
    return found, found.name if isinstance(found, Conduit) else usual


def run_file(path: Path) -> ModuleType:
    """Return the module in a Python file; what it defines travels by value.

    Raises:
        InvalidCall: Running it raised; the traceback is in the error.
    """
    import cloudpickle

    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = path.stem if path.stem.isidentifier() else "penstock_flow_file"
    taken = sys.modules.get(name)
    if taken is not None and getattr(taken, "__file__", None) != str(path.resolve()):
        name = f"{name}_flow"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise InvalidCall(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    cloudpickle.register_pickle_by_value(module)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidCall(
            f"Running {path} raised {type(error).__name__}: {error}",
            type=type(error).__name__,
            traceback=traceback.format_exc(),
            hint=_last_line(error, path),
        ) from error
    return module


def _last_line(error: BaseException, path: Path) -> str | None:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path.resolve())]
    return f"{path.name}, line {own[-1].lineno}: {own[-1].line}" if own else None


def _named(module: ModuleType, name: str, path: Path) -> Any:
    if not hasattr(module, name):
        flows = [n for n, value in vars(module).items() if _is_flow(value) and n[0] != "_"]
        raise InvalidCall(
            f"{path.name} has no {name!r}.",
            hint=f"It has the flows {', '.join(flows)}." if flows else None,
        )
    return _checked(getattr(module, name), name, path)


def _checked(value: Any, name: str, path: Path) -> Any:
    if inspect.isfunction(value):
        value = value()
    if not _is_flow(value):
        raise InvalidFlow(
            f"{name!r} of {path.name} is a {type(value).__name__}, no flow.",
            hint="A flow is a list of stages, a Conduit, or a function that returns one of these.",
        )
    return value


def _only(module: ModuleType, path: Path) -> Any:
    if hasattr(module, USUAL):
        return _checked(getattr(module, USUAL), USUAL, path)
    conduits = [value for value in vars(module).values() if isinstance(value, Conduit)]
    if len(conduits) == 1:
        return conduits[0]
    raise InvalidCall(
        f"{path.name} has no {USUAL!r} and {len(conduits)} conduits.",
        hint=f"Name what to deploy: penstock deploy {path.name}:name",
    )


def _is_flow(value: object) -> bool:
    return isinstance(value, (Conduit, Parallel, Switch)) or (
        isinstance(value, (list, tuple)) and bool(value) and not isinstance(value[0], (str, int))
    )
