"""Writes the message that tells a worker or a template what to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.codec.worker_messages import Load
from penstock.engine.base import VersionSpec
from penstock.engine.local.home import Home
from penstock.engine.local.options import EngineOptions


async def secrets_of(spec: VersionSpec) -> Mapping[str, str]:
    """Return the secrets that a version's workers are given, as they are now."""
    return await spec.find_secrets() if spec.find_secrets is not None else {}


def load_message(
    spec: VersionSpec,
    scratch: Path,
    home: Home,
    secrets: Mapping[str, str],
    devices: Sequence[str] = (),
    options: EngineOptions | None = None,
) -> Load:
    """Return the message for a process that may write below `scratch`, a folder in `home`.

    Args:
        spec: The version.
        scratch: Its folder.
        home: The folder of the version's processes, and how they are confined.
        secrets: What `secrets_of` returned.
        devices: The GPUs it may use.
        options: The limits of what callers may send.
    """
    options = options or EngineOptions()
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
        secrets=dict(secrets),
        devices=",".join(devices),
        memory_limit_bytes=spec.memory_limit_bytes or 0,
        max_parts=options.max_parts,
        max_nesting=options.max_nesting,
    )
