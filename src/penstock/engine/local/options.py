"""Settings of the local engine. Made by `wiring` from the server's settings."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from penstock.engine.sandbox.options import SandboxOptions


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
        load_timeout_s: How long a version may take to load.
        overdue_grace_s: How long after a call's deadline the worker that is still inside it lives.
        tick_s: How often deadlines are looked at while calls are in flight.
        sandbox: How workers are confined; None: not at all.
        log_bytes_per_s: How much worker output the server reads; faster printers are slowed down.
    """

    start_method: str = "fork" if sys.platform == "linux" else "spawn"
    zygote_command: tuple[str, ...] = (sys.executable, "-m", "penstock.wiring.zygote_process")
    worker_command: tuple[str, ...] = (sys.executable, "-m", "penstock.wiring.worker_process")
    templates: bool = True
    spare_delay_s: float | None = 0.3
    max_replicas: int = 0
    memory_check_s: float = 2.0
    load_timeout_s: float = 300.0
    overdue_grace_s: float = 1.0
    tick_s: float = 0.05
    sandbox: SandboxOptions | None = None
    log_bytes_per_s: int = 64 * 1024 * 1024
