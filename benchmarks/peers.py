"""The peers: which server with which settings, in which environment, and what it is.

Settings were chosen by short runs of case A at each number of clients; where one setting wins at
16 clients and another at 64, both are here, and Penstock is compared with the better at each point.
"""

from typing import NamedTuple


class Peer(NamedTuple):
    """One peer at one setting.

    Attributes:
        venv: Environment it runs in.
        file: Its server in `servers/`.
        arguments: What follows the port.
        style: How requests look: `plain`, or `v2` (Open Inference Protocol).
        settings: The settings in words.
        product: False for what nobody can install: shown, but not a peer to be compared with.
    """

    venv: str
    file: str
    arguments: tuple[str, ...]
    style: str
    settings: str
    product: bool = True


class Group(NamedTuple):
    """One environment: what is installed into it after torch, and which system package helps."""

    packages: tuple[str, ...]
    needs: str = ""


GROUPS = {
    "base": Group(("fastapi", "uvicorn", "uvloop", "httptools", "granian")),
    "mosec": Group(("mosec",)),
    "litserve": Group(("litserve", "uvloop", "httptools")),
    "bentoml": Group(("bentoml", "uvloop", "httptools")),
    "mlserver": Group(("mlserver", "uvloop<0.22")),  # its workers end at start under a newer uvloop
    "ray": Group(("ray[serve]",), needs="haproxy"),
}

_GREEDY = "with the smallest greedy batcher we could write"

PEERS = {
    "fastapi": Peer("base", "fastapi_server.py", ("1",), "plain", "uvicorn, 1 worker"),
    "fastapi-2w": Peer("base", "fastapi_server.py", ("2",), "plain", "uvicorn, 2 workers"),
    "granian": Peer("base", "granian_server.py", ("1",), "plain", "RSGI, 1 worker"),
    "granian-2w": Peer("base", "granian_server.py", ("2",), "plain", "RSGI, 2 workers"),
    "granian-2w-batch": Peer(
        "base", "granian_server.py", ("2", "batch"), "plain", f"2 workers {_GREEDY}", product=False
    ),
    "mosec": Peer("mosec", "mosec_server.py", ("2", "1", "0"), "plain", "2 workers, no batching"),
    "mosec-batch": Peer(
        "mosec", "mosec_server.py", ("2", "16", "1"), "plain", "2 workers, batch 16, wait 1 ms"
    ),
    "mosec-batch-32": Peer(
        "mosec", "mosec_server.py", ("2", "32", "1"), "plain", "2 workers, batch 32, wait 1 ms"
    ),
    "litserve-batch": Peer(
        "litserve", "litserve_server.py", ("64", "0.001", "1", "2"), "plain",
        "1 worker, 2 API servers, batch 64, wait 1 ms",
    ),
    "bentoml": Peer("bentoml", "bentoml_server.py", ("2",), "plain", "2 workers"),
    "bentoml-batch": Peer(
        "bentoml", "bentoml_server.py", ("2", "batch"), "plain", "2 workers, adaptive batching"
    ),
    "mlserver-batch": Peer(
        "mlserver", "mlserver_server.py", ("0", "32", "0.0005"), "v2",
        "in-process, batch 32, wait 0.5 ms",
    ),
    "ray-batch": Peer(
        "ray", "ray_server.py", ("2", "32", "0", "haproxy"), "plain",
        "HAProxy ingress, 2 replicas, batch 32, wait 0",
    ),
}  # fmt: skip
