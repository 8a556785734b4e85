"""Writes the message that tells a worker or a template what to load."""

from __future__ import annotations

from pathlib import Path

from penstock.codec.frames import Load
from penstock.engine.base import VersionSpec


def load_message(spec: VersionSpec, scratch: Path) -> Load:
    """Return the message for a process that may write below `scratch`."""
    return Load(
        project=spec.key.project,
        deployment=spec.key.deployment,
        version=spec.key.number,
        manifest=spec.manifest,
        blobs={sha256: str(path) for sha256, path in spec.blobs.items()},
        scratch=str(scratch),
        threads=spec.threads,
        max_batch=spec.max_batch,
        concurrency=spec.concurrency,
    )
