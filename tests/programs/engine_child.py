"""A zygote or worker whose service does what each call's body says, good and bad.

    engine_child.py zygote <server pid> <descriptor>
    engine_child.py worker <server pid> <descriptors...>

The manifest of the version is JSON: `{"load": action, ...}` says how loading goes. A body that is a
JSON object with "do" is an order; any other body comes back as it is.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from penstock.codec.frames import CallFrame, ReplyFrame
from penstock.codec.memory import Increment, Read
from penstock.codec.worker_messages import Load
from penstock.core.errors import LoadFailed
from penstock.engine.local import lifeline, template_process, worker, zygote
from penstock.engine.local.loader import Loader, Tools
from penstock.engine.local.pipes import ChildEnds, TemplateEnds

LEAKED: list[bytearray] = []
KEPT: list[Any] = []


def seed(library: str) -> None:
    if library == "torch":
        import torch

        torch.manual_seed(7)
    elif library == "numpy":
        import numpy as np

        np.random.seed(7)
    else:
        random.seed(7)


def draw(library: str) -> float:
    if library == "torch":
        import torch

        return float(torch.rand(1))
    if library == "numpy":
        import numpy as np

        return float(np.random.random())
    return random.random()


def act(order: dict[str, Any], tools: Tools) -> bytes:
    what = order["do"]
    if what == "sleep":
        time.sleep(order["s"])
    elif what == "spin":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass
    elif what == "hold_gil":
        ctypes.PyDLL(None).sleep(3600)
    elif what == "backtrack":
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif what == "segfault":
        tools.at(2, 3)
        ctypes.string_at(0)
    elif what == "exit":
        os._exit(order["code"])
    elif what == "raise":
        raise RuntimeError("the service itself is broken")
    elif what == "size":
        return b"x" * order["size"]
    elif what == "print":
        line = b"y" * 1023 + b"\n"
        for _ in range(order["kib"] // 64):
            os.write(1, line * 64)
        print("printed it all")
    elif what == "children":
        quiet = {"stdin": subprocess.DEVNULL}
        subprocess.Popen(["sleep", "1000"], **quiet)
        subprocess.Popen(["sh", "-c", "sleep 0 & exec sleep 1000"], **quiet)
        os.system("setsid sh -c 'exit 3' &")
    elif what == "garbage":
        os.write(int(order["fd"]), bytes.fromhex(order["hex"]))
    elif what == "memory":
        tools.ask(Increment("deployment", "n", 1))
        return str(tools.ask(Read("deployment", "n")).number).encode()
    elif what == "env":
        return json.dumps(dict(os.environ)).encode()
    elif what == "random":
        import numpy as np

        return str(np.random.random()).encode()
    elif what == "draw":
        return str(draw(order["library"])).encode()
    elif what in ("leak", "leak_and_sleep"):
        LEAKED.append(bytearray(os.urandom(4096)) * (order["mib"] * 256))
        time.sleep(order.get("s", 0))
    elif what == "fds":
        return str(len(os.listdir("/proc/self/fd"))).encode()
    elif what == "private_kib":
        rollup = Path("/proc/self/smaps_rollup").read_text()
        return str(sum(int(x) for x in re.findall(r"Private_\w+: +(\d+)", rollup))).encode()
    return json.dumps({"did": what, "pid": os.getpid()}).encode()


def die_soon(told: Path) -> None:
    """End just after this worker is ready, the first time there is the file that asks for it."""
    armed = told.with_suffix(".armed")
    if not armed.exists():
        return
    armed.write_text(str(os.getpid()))
    armed.rename(told)
    while not told.with_suffix(".go").exists():
        time.sleep(0.001)
    threading.Timer(0.2, os._exit, [9]).start()


class Service:
    def __init__(self, tools: Tools, settings: dict[str, Any]) -> None:
        self._tools = tools
        self._settings = settings
        self.together = settings.get("together", 0)

    def facts(self) -> dict[str, Any]:
        if "die_when_ready" in self._settings:
            die_soon(Path(self._settings["die_when_ready"]))
        return {"loaded": True, "prepared_by": self._settings["pid"]}

    def answer(self, calls: list[CallFrame]) -> list[ReplyFrame]:
        return [self._one(call) for call in calls]

    def _one(self, call: CallFrame) -> ReplyFrame:
        body = call.body
        if call.media_type == "error":  # what it is told is an error
            return ReplyFrame(call.call_id, b"function_failed", 0, b"", bytes(body))
        if call.media_type == "order":
            body = act(json.loads(bytes(body)), self._tools)
        return ReplyFrame(call.call_id, b"", 0, b"total;dur=1", bytes(body))


def prepare(message: Load) -> dict[str, Any]:
    settings = json.loads(message.manifest)
    print(f"loading version {message.version}")
    how = settings.get("load")
    if how == "fail":
        raise LoadFailed("The model of stage 2 is bad.", stage=2, hint="Make it again.")
    if how == "raise":
        raise ValueError("no such model")
    if how == "exit":
        sys.exit("gone while importing")
    if how == "segfault":
        ctypes.string_at(0)
    if how == "large":
        KEPT.append(bytearray(os.urandom(4096)) * (settings["mib"] * 256))
    if how == "wait":
        while not os.path.exists(settings["file"]):
            time.sleep(0.001)
    if how == "hang":
        time.sleep(3600)
    if how == "thread":
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    if how == "connect":
        KEPT.extend(socket.socketpair())
    if how == "child":
        KEPT.append(subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL))
    if how == "seed":
        seed(settings["library"])
    if how == "once":
        with open(settings["file"], "x"):
            pass
    return {**settings, "pid": os.getpid()}


def serve(prepared: dict[str, Any], message: Load, tools: Tools) -> Service:
    return Service(tools, prepared)


LOADER = Loader(prepare, serve)


def run(ends: ChildEnds) -> None:
    worker.run(ends, LOADER)


def run_template(ends: TemplateEnds) -> None:
    template_process.run(ends, LOADER)


def main() -> None:
    role, server, *fds = sys.argv[1], *(int(text) for text in sys.argv[2:])
    if role == "zygote":
        zygote.serve(fds[0], server, zygote.Roles(run, run_template))
    lifeline.die_with(server)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run(ChildEnds(*fds))


if __name__ == "__main__":
    main()
