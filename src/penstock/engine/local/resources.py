"""What a worker may use of the machine: threads, memory, devices. Set before user code is loaded.

`wiring.worker_process` calls `apply` in the process that loads a version: a worker, or a template
whose workers inherit it.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module, util
from pathlib import Path

from penstock.codec.worker_messages import Load
from penstock.core.memory_limit import remember

#: Read by numerical libraries when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

#: Address space that is asked for and never touched: padding of the heap, stacks of threads.
_SLACK_BYTES = 256 << 20

#: Times the limit at which an allocation fails; a replica is replaced before, between calls.
_HARD = 1.25


def apply(message: Load) -> None:
    """Give this process the threads, the memory and the devices that a version may use."""
    os.environ["CUDA_VISIBLE_DEVICES"] = message.devices
    pin_threads(message.threads)
    remember(f"{message.project}/{message.deployment}", message.memory_limit_bytes)
    # The driver of a GPU reserves address space by the terabyte.
    if message.memory_limit_bytes and not message.devices:
        limit_memory(message.memory_limit_bytes)


def pin_threads(count: int) -> None:
    """Let numerical libraries use `count` threads: those still to be loaded and those that are.

    Model libraries that take a number of threads per model are given it by their loaders.
    """
    for name in _THREADS:
        os.environ[name] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)
    # Libraries that were loaded by the zygote have one thread: more must be asked for.
    if count > 1 and util.find_spec("threadpoolctl") is not None:
        import_module("threadpoolctl").threadpool_limits(limits=count)


def limit_memory(limit_bytes: int) -> bool:
    """Make allocations fail beyond what this process has now and `limit_bytes` more.

    Returns:
        Whether the platform can do that. Where it cannot, the server watches alone.
    """
    now = _data_bytes()
    if not now:
        return False
    import resource

    most = now + int(_HARD * limit_bytes) + _SLACK_BYTES
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    return True


def _data_bytes() -> int:
    """Return this process's private writable address space in bytes; 0 if that is not told."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    lines = (line.split() for line in text.splitlines() if line.startswith("VmData:"))
    return next((1024 * int(words[1]) for words in lines), 0)
