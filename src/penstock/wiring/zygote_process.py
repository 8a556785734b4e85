"""The zygote's entry: `python -m penstock.wiring.zygote_process <server pid> <descriptor>`.

Importing `worker_process` here means that every forked worker has the flow runtime already.
"""

from __future__ import annotations

import sys

from penstock.engine.local import zygote
from penstock.wiring import worker_process


def main() -> None:
    """Serve forks until the server is gone."""
    server, control = (int(text) for text in sys.argv[1:])
    roles = zygote.Roles(worker_process.run, worker_process.run_template)
    zygote.serve(control, server, roles)


if __name__ == "__main__":
    main()
