"""The worker's entry: builds the flow service from a `Load` message and serves it.

The zygote calls `run` or `run_template` after a fork. Where forking is not safe the engine starts
`python -m penstock.wiring.worker_process` with the descriptors and the server's process id as
arguments; it is otherwise the same.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import NoReturn

from penstock.codec.bundle import read_manifest
from penstock.codec.multipart import limit_parts
from penstock.codec.nesting import limit_nesting
from penstock.codec.worker_messages import Load
from penstock.engine.local import lifeline, resources, template_process, worker
from penstock.engine.local.loader import Loader, Overlapping, Service, Tools
from penstock.engine.local.pipes import ChildEnds, TemplateEnds
from penstock.flow import run_output, secrets
from penstock.flow.assemble import assemble
from penstock.flow.loaded import LoadedFlow
from penstock.flow.overlap import OverlapService
from penstock.flow.service import FlowService
from penstock.loaders import device


def prepare(message: Load) -> LoadedFlow:
    """Load the functions and models of the version in `message`; maybe in a template."""
    resources.apply(message)
    device.use(message.devices)
    limit_parts(message.max_parts)
    limit_nesting(message.max_nesting)
    secrets.install(f"{message.project}/{message.deployment}", message.secrets)
    manifest = read_manifest(message.manifest)
    blobs = {sha256: Path(path) for sha256, path in message.blobs.items()}
    return assemble(
        manifest,
        blobs,
        threads=message.threads,
        max_batch=message.max_batch,
        scratch=Path(message.scratch),
    )


def serve(flow: LoadedFlow, message: Load, tools: Tools) -> Service | Overlapping:
    """Return the service of this process that answers calls with `flow`."""
    run_output.install()
    scratch = Path(message.scratch)
    secrets.connect(tools.ask)
    if flow.waits or message.concurrency > 1:
        return OverlapService(flow, tools.ask, scratch, message.concurrency, notice=tools.notice)
    return FlowService(flow, tools.ask, scratch, at=tools.at, notice=tools.notice)


LOADER = Loader(prepare, serve)


def run(ends: ChildEnds) -> NoReturn:
    """Be a worker of the version the server will name."""
    worker.run(ends, LOADER)


def run_template(ends: TemplateEnds) -> NoReturn:
    """Be a template of the version the server will name."""
    template_process.run(ends, LOADER)


def main() -> NoReturn:
    """Entry of a spawned worker: `worker_process <server pid> <descriptors...>`."""
    server, *fds = (int(text) for text in sys.argv[1:])
    lifeline.die_with(server)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run(ChildEnds(*fds))


if __name__ == "__main__":
    main()
