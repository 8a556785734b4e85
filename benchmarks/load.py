"""Runs `wrk` against one server and returns the figures: one thread, a closed loop."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cases import Request
from places import HERE

#: Seconds after which wrk counts a request as failed.
TIMEOUT_S = 10


def available() -> bool:
    """Whether `wrk` is installed."""
    return shutil.which("wrk") is not None


def load(
    port: int,
    requests: list[Request],
    clients: int,
    seconds: int,
    *,
    pick: str = "turn",
    timing: bool = False,
) -> dict[str, Any]:
    """Send requests from `clients` connections for `seconds` and return what came of it.

    Args:
        port: Port of 127.0.0.1.
        requests: Sent in turn, or at random with `pick="random"`.
        clients: Connections, each with one request at a time.
        seconds: Whole seconds.
        pick: `turn` or `random`.
        timing: Also average the parts of `Server-Timing`; this costs wrk some time.

    Returns:
        `rps` (2xx answers a second), `p50_ms`, `p90_ms`, `p99_ms`, `max_ms`, `n`, `errors`, and
        `timing` (milliseconds by part).
    """
    with tempfile.TemporaryDirectory(prefix="penstock-wrk-") as name:
        folder = Path(name)
        extra = _write(folder, port, requests, pick, timing)
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_S}s"]
        command += [*extra, "-s", str(folder / "load.lua"), f"http://127.0.0.1:{port}"]
        if len(requests) == 1:
            command[-1] += requests[0].path
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return _figures(json.loads(line[7:]))
    raise RuntimeError("wrk gave no result: " + (done.stderr or done.stdout)[-300:])


def _write(folder: Path, port: int, requests: list[Request], pick: str, timing: bool) -> list[str]:
    """Write what the script reads; return the command's own options."""
    one = len(requests) == 1 and not requests[0].vary
    values: dict[str, Any] = {
        "FOLDER": str(folder),
        "COUNT": len(requests),
        "PICK": "one" if one else pick,
        "TIMING": timing,
        "VARY": bool(requests[0].vary),
    }
    options: list[str] = []
    if one:
        (folder / "body").write_bytes(requests[0].body)
        for name, value in requests[0].headers.items():
            options += ["-H", f"{name}: {value}"]
    else:
        for number, request in enumerate(requests, 1):
            head, rest = raw_request(port, request)
            values["HEAD"] = head
            (folder / f"raw{number}").write_bytes(rest)
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    script = "\n".join(lines) + "\n" + (HERE / "load.lua").read_text()
    (folder / "load.lua").write_text(script)
    return options


def raw_request(port: int, request: Request) -> tuple[str, bytes]:
    """Return a request's bytes; with `vary`, in two parts between which a value belongs."""
    first = f"POST {request.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    fields += f"Content-Length: {len(request.body)}\r\n\r\n"
    if request.vary:
        return f"{first}{request.vary}: ", b"\r\n" + fields.encode() + request.body
    return "", (first + fields).encode() + request.body


def _figures(raw: dict[str, Any]) -> dict[str, Any]:
    bad = sum(raw[name] for name in ("connect", "read", "write", "status", "timeout"))
    figures = {f"{name}_ms": raw[name] / 1e3 for name in ("p50", "p90", "p99", "max")}
    figures["rps"] = (raw["n"] - raw["status"]) / (raw["us"] / 1e6)
    figures["n"], figures["errors"] = raw["n"], bad
    figures["timing"] = {name: value for name, value in raw["timing"].items() if name}
    return figures
