"""Runs a flow on the user's machine with the code that a worker runs.

Used by `Conduit.load` and `Conduit.run`. Data and files pass through the same encoding as over
HTTP, so a local run sees and returns exactly what a served run would.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.codec.payload import decode
from penstock.codec.request import encode_request
from penstock.codec.results import to_plain
from penstock.core.errors import PenstockError
from penstock.core.flow import Flow
from penstock.core.names import new_run_id
from penstock.flow.assemble import assemble_local
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.memory import process_space
from penstock.flow.publish import publish_all
from penstock.flow.secrets import run_from
from penstock.loaders import device


class LocalFlow:
    """A flow loaded in this process. Memory is shared by all local flows of the process.

    Args:
        flow: The flow as the user wrote it.
        threads: Threads a model call may use.
        on_gpu: Whether models are put on a GPU, where there is one.
        pair_files: Whether a request's files and data points must be equal in number.

    Raises:
        LoadFailed: A model does not load, or a `setup` fails; `stage` says which.
    """

    def __init__(
        self, flow: Flow, *, threads: int = 1, on_gpu: bool = False, pair_files: bool = False
    ) -> None:
        device.use(os.environ.get("CUDA_VISIBLE_DEVICES", "all") if on_gpu else "")
        self._loaded = assemble_local(flow, threads=threads, pair_files=pair_files)
        self._space = process_space().beside()
        folder = tempfile.mkdtemp(prefix="penstock-setup-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._loaded.set_up(self._space, Path(folder))

    def facts(self) -> dict[str, Any]:
        """Return what a server would show of the flow: models, inputs, functions."""
        return self._loaded.facts()

    def run(
        self,
        data: Any,
        files: Sequence[Any] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the flow's result as the JSON values a caller over HTTP would read.

        Args:
            data: What a caller would send; arrays and tensors become lists.
            files: Paths, bytes, open binary files, or `(name, any of these[, content type])`.
            parameters: As in a request.

        Raises:
            PenstockError: What a caller over HTTP would get, with the user's exception as cause.
        """
        sent = encode_request(data, parameters, list(files) or None)
        request = decode(sent.media_type, sent.to_bytes())
        self._loaded.admit(request)
        run = Run(
            new_run_id(),
            request.data,
            request.files,
            request.count,
            self._space,
            parameters=request.parameters,
        )
        with _own_desk() as desk:
            self._loaded.execute([run], desk)
            result = None if run.error is not None else self._plain(run.value)
        publish_all(run.space, [run])
        if run.error is None:
            return result
        if isinstance(run.error.__cause__, KeyboardInterrupt):
            raise run.error.__cause__
        raise run.error

    def _plain(self, value: Any) -> Any:
        try:
            return to_plain(value)
        except PenstockError as error:
            raise self._loaded.blame(error) from None


@contextmanager
def _own_desk() -> Iterator[Desk]:
    """Run in a temporary folder and come back; modules beside the user's code stay importable."""
    home = os.getcwd()
    path = sys.path.copy()
    sys.path[:] = [home if entry in {"", "."} else entry for entry in path]
    scratch = tempfile.mkdtemp(prefix="penstock-run-")
    desk = Desk(Path(scratch))
    try:
        desk.open()
        run_from(home)
        yield desk
    finally:
        run_from(None)
        os.chdir(home)
        desk.close()
        sys.path[:] = path
