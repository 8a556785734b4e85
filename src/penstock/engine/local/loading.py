"""Writes the message that tells a worker or a template what to load."""

from __future__ import annotations

from pathlib import Path

from penstock.codec.frames import Load
from penstock.engine.base import VersionSpec
from penstock.engine.local.home import Home


def load_message(spec: VersionSpec, scratch: Path, home: Home) -> Load:
    """Return the message for a process that may write below `scratch`, a folder in `home`."""
    return Load(
        project=spec.key.project,
        deployment=spec.key.deployment,
        version=spec.key.number,
        manifest=spec.manifest,
        blobs=home.lend(spec.blobs),
        scratch=str(scratch),
        threads=spec.threads,
        max_batch=spec.max_batch,
        concurrency=spec.concurrency,
        sandbox=home.sandbox,
    )
