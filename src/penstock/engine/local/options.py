"""Settings of the local engine. Made by `wiring` from the server's settings."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from penstock.codec.sandbox import Sandbox
from penstock.engine.base import Environment
from penstock.engine.sandbox import enter
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
        memory_guard: `"auto"` for control groups where they can be made, or `"watchdog"`.
        max_parts: Most parts of a multipart body.
        max_nesting: Most levels of lists and objects in JSON.
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
    memory_guard: str = "watchdog"
    max_parts: int = 10_000
    max_nesting: int = 200
    max_result_bytes: int = 1 << 30
    devices: tuple[str, ...] = ()
    load_timeout_s: float = 300.0
    overdue_grace_s: float = 1.0
    tick_s: float = 0.05
    sandbox: SandboxOptions | None = None
    log_bytes_per_s: int = 64 * 1024 * 1024


def zygote_command(
    options: EngineOptions, environment: Environment | None, sandbox: Sandbox | None
) -> list[str]:
    """Return what to run as the zygote of an environment; None is the server's own."""
    if environment is None:
        return list(options.zygote_command)
    return _inside(environment, _ZYGOTE, sandbox)


def worker_command(
    options: EngineOptions, environment: Environment | None, sandbox: Sandbox | None
) -> list[str]:
    """Return what to run as a spawned worker of an environment; None is the server's own."""
    if environment is None:
        return list(options.worker_command)
    return _inside(environment, _WORKER, sandbox)


def _inside(environment: Environment, module: str, sandbox: Sandbox | None) -> list[str]:
    # Isolated: neither the server's PYTHONPATH nor the user's own packages belong in there.
    python, path = str(environment.python), str(environment.path)
    program = [python, "-I", "-c", environment.start, path, module]
    return enter.command(sandbox, places_of(environment), program)


def places_of(environment: Environment) -> tuple[str, ...]:
    """Return the folders of an environment: its own, its interpreter's, the one with Penstock."""
    own, base = environment.python.parents[1], environment.python.resolve().parents[1]
    return str(own), str(base), str(environment.path)
