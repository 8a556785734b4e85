"""Flows as users write them: as a list of stages, and with their models in another folder.

Used by `penstock.client.conduit`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.core.branches import Parallel, Switch
from penstock.core.flow import Flow, is_one_stage
from penstock.core.pipelines import COMPONENTS


def stages_of(flow: Sequence[Any] | None) -> list[Any]:
    """Return the stages of a flow, of which a single one may stand for itself.

    Raises:
        InvalidFlow: It is neither a stage nor a list of them.
    """
    if flow is None:
        return []
    if isinstance(flow, (Parallel, Switch)) or (isinstance(flow, tuple) and is_one_stage(flow)):
        return [flow]
    if not isinstance(flow, (list, tuple)):
        Flow.parse(flow)
    return list(flow)


def moved(stage: Any, directory: Path) -> Any:
    """Return a stage with its model file, or those of its branches, below `directory`."""
    if isinstance(stage, (Parallel, Switch)):
        return _with_moved_branches(stage, directory)
    kind, *rest = stage
    if isinstance(kind, (Parallel, Switch)):
        return (_with_moved_branches(kind, directory), *rest)
    path, *functions = rest
    if isinstance(path, Mapping):  # the arguments of a pipeline
        return (kind, _moved_folders(path, directory), *functions)
    if not isinstance(path, (str, os.PathLike)):
        return stage
    return (kind, directory / Path(path).name, *functions)


def _moved_folders(arguments: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    found = dict(arguments)
    for name in COMPONENTS.intersection(arguments):
        if isinstance(arguments[name], (str, os.PathLike)):
            folder = directory / Path(arguments[name]).name
            found[name] = folder if folder.is_dir() else arguments[name]
    return found


def _with_moved_branches(given: Parallel | Switch, directory: Path) -> Parallel | Switch:
    flows: Any = given.flows
    if isinstance(flows, Mapping):
        found: Any = {name: _moved_flow(flow, directory) for name, flow in flows.items()}
    else:
        found = [_moved_flow(flow, directory) for flow in flows]
    return dataclasses.replace(given, flows=found)


def _moved_flow(flow: Any, directory: Path) -> list[Any]:
    return [moved(stage, directory) for stage in stages_of(flow)]
