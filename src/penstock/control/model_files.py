"""Looks into the model files of an uploaded version before it is recorded; nothing is loaded.

Each model is labelled as running code on load or not, by the server itself, whatever the client
said. Called by `penstock.control.deploys` in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from penstock.codec.bundle import BranchEntry, BranchesEntry, Interpreter, Manifest, StageEntry
from penstock.codec.model_code import code_in_file, code_in_folder, runs_code
from penstock.codec.pickles import pickle_facts
from penstock.core.errors import InterpreterMismatch
from penstock.core.numbers import InBranch
from penstock.stores.base import BlobStore

#: Opcodes read of a pickle: functions and classes by value stand near the start, and reading more
#: would keep calls waiting that are served meanwhile.
_MOST_OPCODES = 50_000


def labelled(
    manifest: Manifest, blobs: BlobStore, server: Interpreter, *, refuse_code: bool
) -> Manifest:
    """Return the manifest with the label of each model as this server sees it.

    Args:
        manifest: The bundle's manifest; its blobs are all there.
        blobs: Where they are.
        server: The interpreter that would load the version.
        refuse_code: Whether models that run code on load are refused.

    Raises:
        ModelRunsCode: A model runs code on load, and the server does not allow it.
        InterpreterMismatch: A pickled model holds bytecode of another Python.
        BlobCorrupt: A file has changed on the disk.
    """

    def labelled(number: int, stage: StageEntry) -> StageEntry:
        if stage.branches is not None:
            return _with_flows(number, stage, stage.branches, labelled)
        reason = "" if stage.is_function else _reason(stage, blobs)
        if reason and refuse_code:
            raise runs_code(number, stage.title, reason)
        if reason:
            _check_bytecode(number, stage, manifest.interpreter, server, blobs)
        label = None if stage.is_function else bool(reason)
        return msgspec.structs.replace(stage, runs_code=label)

    stages = [labelled(number, stage) for number, stage in enumerate(manifest.stages, 1)]
    return msgspec.structs.replace(manifest, stages=stages)


def _with_flows(
    number: int,
    stage: StageEntry,
    inner: BranchesEntry,
    change: Callable[[int, StageEntry], StageEntry],
) -> StageEntry:
    """Return a stage with each stage of its branches changed."""
    flows = [
        BranchEntry(
            branch.name,
            [change(InBranch(number, branch.name, n), s) for n, s in enumerate(branch.stages, 1)],
        )
        for branch in inner.flows
    ]
    branches = msgspec.structs.replace(inner, flows=flows)
    return msgspec.structs.replace(stage, branches=branches)


def _reason(stage: StageEntry, blobs: BlobStore) -> str:
    if stage.files:
        return code_in_folder(stage.model_type, _folder(stage, blobs))
    weights_only = stage.function is not None
    path = blobs.path(stage.model.sha256)
    return code_in_file(stage.model_type, stage.model.name, path, weights_only)


def _folder(stage: StageEntry, blobs: BlobStore) -> Iterator[tuple[str, Path]]:
    return ((file.path, blobs.path(file.blob.sha256)) for file in stage.files)


def _check_bytecode(
    number: int, stage: StageEntry, client: Interpreter, server: Interpreter, blobs: BlobStore
) -> None:
    if server.can_load_functions_of(client):
        return
    files = dict(_folder(stage, blobs)) if stage.files else {}
    named = files or {stage.model.name: blobs.path(stage.model.sha256)}
    for name, path in named.items():
        facts = pickle_facts(path, name, _MOST_OPCODES)
        if facts is not None and facts.carries_code:
            raise InterpreterMismatch(
                f"The model of stage {number} ({name}) holds Python code made by "
                f"{client.implementation} {client.version}; this server runs "
                f"{server.implementation} {server.version}, which cannot load it safely.",
                stage=number,
                hint="Save the model with the server's Python version, or in a format that holds "
                "no code.",
            )
