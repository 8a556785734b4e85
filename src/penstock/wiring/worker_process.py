"""The worker's entry: builds the flow service from a `Load` message and serves it.

The zygote calls `run` after a fork. Where forking is not safe the engine starts
`python -m penstock.wiring.worker_process` with the descriptors and the server's process id as
arguments; it is otherwise the same.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import NoReturn

from penstock.codec.bundle import read_manifest
from penstock.codec.frames import Load
from penstock.engine.local import lifeline, worker
from penstock.engine.local.pipes import ChildEnds
from penstock.flow.assemble import assemble
from penstock.flow.service import FlowService


def load(message: Load, tools: worker.Tools) -> worker.Service:
    """Return the service that answers calls of the version in `message`."""
    manifest = read_manifest(message.manifest)
    blobs = {sha256: Path(path) for sha256, path in message.blobs.items()}
    scratch = Path(message.scratch)
    flow = assemble(
        manifest,
        blobs,
        threads=message.threads,
        max_batch=message.max_batch,
        scratch=scratch / "modules",
    )
    return FlowService(flow, tools.ask, scratch, at=tools.at, notice=tools.notice)


def run(ends: ChildEnds) -> NoReturn:
    """Be a worker of the version the server will name."""
    worker.run(ends, load)


def main() -> NoReturn:
    """Entry of a spawned worker: `worker_process <server pid> <descriptors...>`."""
    server, *fds = (int(text) for text in sys.argv[1:])
    lifeline.die_with(server)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run(ChildEnds(*fds))


if __name__ == "__main__":
    main()
