"""Penstock under test: a server on a fresh data folder with the flows of the cases."""

import http.client
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from places import HERE, OUR_PYTHON, WORK, our_environment
from system import System
from validate import send

#: Flows by case, and the name each is deployed under.
FLOWS = {"A": "ab", "B": "ab", "H": "ab", "C": "c", "D": "d"}


class Penstock(System):
    """A Penstock server of this checkout, with a client that deploys to it.

    Attributes:
        deploys: What each deploy answered, in order.
    """

    def __init__(self, **settings: str) -> None:
        key = "pk_a_" + secrets.token_hex(4) + "_" + secrets.token_urlsafe(24)
        super().__init__("penstock", "penstock", {"Authorization": key})
        self.key = key
        self.deploys: list[dict[str, Any]] = []
        self._settings = {f"PENSTOCK_{name.upper()}": value for name, value in settings.items()}
        self._data = Path(tempfile.mkdtemp(prefix="penstock-bench-data-"))
        self._client: subprocess.Popen[str] | None = None

    def start(self, boot_s: float = 60.0) -> "Penstock":
        """Start the server and return when it is ready for calls."""
        begun = time.perf_counter()
        env = our_environment(
            PENSTOCK_ADMIN_KEY=self.key, XDG_CONFIG_HOME=str(self._data), **self._settings
        )
        command = [OUR_PYTHON, "-m", "penstock.cli.main", "serve", "--port", str(self.port)]
        try:
            self.spawn([*command, "--data", str(self._data)], env, WORK / "logs" / "penstock.log")
            self._wait_ready(boot_s)
        except BaseException:
            self.stop()
            raise
        self.cold_s = time.perf_counter() - begun
        return self

    def _wait_ready(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()
            self.check_alive()
        raise RuntimeError(f"the server was not ready in {seconds:.0f} s")

    def deploy(self, flow: str, name: str = "", **options: Any) -> dict[str, Any]:
        """Deploy a flow of `our_flows`; the answer has `seconds`, `version` and `url`.

        Raises:
            NotYet: `deploy` does not take one of the options.
            RuntimeError: The deploy failed.
        """
        command = {
            "server": f"http://127.0.0.1:{self.port}",
            "key": self.key,
            "flow_name": flow,
            "name": name or f"bench-{flow}",
            "options": options,
        }
        client = self._deployer()
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(json.dumps(command) + "\n")
        client.stdin.flush()
        answer: dict[str, Any] = json.loads(client.stdout.readline() or '{"error": "it ended"}')
        if "missing" in answer:
            raise NotYet(f"deploy() takes no {', '.join(answer['missing'])} yet")
        if "error" in answer:
            raise RuntimeError(f"deploy of {flow!r} failed: {answer['error'][:600]}")
        self.deploys.append(answer)
        return answer

    def _deployer(self) -> "subprocess.Popen[str]":
        if self._client is None:
            self._client = subprocess.Popen(
                [OUR_PYTHON, str(HERE / "our_flows.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=our_environment(CI="1", XDG_CONFIG_HOME=str(self._data)),
            )
        return self._client

    def end_client(self) -> None:
        """End the client process, so that it does not disturb a measurement."""
        client, self._client = self._client, None
        if client is not None and client.stdin is not None:
            client.stdin.close()
            try:
                client.wait(10)
            except subprocess.TimeoutExpired:
                client.kill()

    def stop(self) -> None:
        """End everything and remove the data folder."""
        self.end_client()
        super().stop()
        shutil.rmtree(self._data, ignore_errors=True)


class NotYet(Exception):
    """This version of Penstock cannot do what a case needs."""


def start_ours(cases: str, boot_s: float, **settings: str) -> Penstock:
    """Start Penstock with the flows of `cases`; cold start counts to the first answer of A."""
    system = Penstock(**settings).start(boot_s)
    try:
        begun = time.perf_counter()
        system.deploy("ab")
        send(system.port, system.requests("A")[0])
        system.cold_s += time.perf_counter() - begun
        for flow in dict.fromkeys(FLOWS[case] for case in cases):
            if flow != "ab":
                system.deploy(flow)
        system.end_client()
    except BaseException:
        system.stop()
        raise
    return system
