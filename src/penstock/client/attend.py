"""Runs `penstock serve` for as long as the process that started it lives.

Started by `penstock.client.start` as `python -m penstock.client.attend serve …`. Standard input is
a pipe whose other end that process holds: when it ends, in whatever way, the pipe ends and the
server is asked to stop. The command line is run by name, because the client imports no server.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _stop_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until standard input ends."""
    threading.Thread(target=_stop_at_end_of_input, name="attend", daemon=True).start()
    sys.argv[0] = "penstock"
    runpy.run_module("penstock.cli.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
