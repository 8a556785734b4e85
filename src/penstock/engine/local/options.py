"""Settings of the local engine. Made by `wiring` from the server's settings."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from penstock.engine.base import Environment
from penstock.engine.sandbox.options import SandboxOptions

_ZYGOTE = "penstock.wiring.zygote_process"
_WORKER = "penstock.wiring.worker_process"


@dataclass(frozen=True)
class EngineOptions:
    """How the local engine starts, watches and ends its processes. Times are seconds.

    Attributes:
        start_method: `"fork"` from a zygote, or `"spawn"` a new interpreter for every worker.
        zygote_command: What to run as a zygote.
        worker_command: What to run as a spawned worker.
        templates: Whether to load a version once and fork its workers from there.
        spare_delay_s: How long after a template was taken into use the next one is forked, to have
            one ready when a version wakes; None: none is kept ready.
        max_replicas: Most replicas of a version that names no maximum; 0: one for each core.
        memory_check_s: How often the memory of replicas that have a limit is looked at.
        max_parts: Most parts of a multipart body.
        max_result_bytes: Largest answer of a worker that is passed on.
        devices: The GPUs that replicas may use, as `CUDA_VISIBLE_DEVICES` names them.
        load_timeout_s: How long a version may take to load.
        overdue_grace_s: How long after a call's deadline the worker that is still inside it lives.
        tick_s: How often deadlines are looked at while calls are in flight.
        sandbox: How workers are confined; None: not at all.
        log_bytes_per_s: How much worker output the server reads; faster printers are slowed down.
    """

    start_method: str = "fork" if sys.platform == "linux" else "spawn"
    zygote_command: tuple[str, ...] = (sys.executable, "-m", _ZYGOTE)
    worker_command: tuple[str, ...] = (sys.executable, "-m", _WORKER)
    templates: bool = True
    spare_delay_s: float | None = 0.3
    max_replicas: int = 0
    memory_check_s: float = 0.5
    max_parts: int = 10_000
    max_result_bytes: int = 1 << 30
    devices: tuple[str, ...] = ()
    load_timeout_s: float = 300.0
    overdue_grace_s: float = 1.0
    tick_s: float = 0.05
    sandbox: SandboxOptions | None = None
    log_bytes_per_s: int = 64 * 1024 * 1024


def zygote_command(options: EngineOptions, environment: Environment | None) -> tuple[str, ...]:
    """Return what to run as the zygote of an environment; None is the server's own."""
    return options.zygote_command if environment is None else _inside(environment, _ZYGOTE)


def worker_command(options: EngineOptions, environment: Environment | None) -> tuple[str, ...]:
    """Return what to run as a spawned worker of an environment; None is the server's own."""
    return options.worker_command if environment is None else _inside(environment, _WORKER)


def _inside(environment: Environment, module: str) -> tuple[str, ...]:
    # Isolated: neither the server's PYTHONPATH nor the user's own packages belong in there.
    python, path = str(environment.python), str(environment.path)
    return (python, "-I", "-c", environment.start, path, module)
