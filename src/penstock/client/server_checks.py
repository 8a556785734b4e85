"""Examines a running server from outside. Called by `penstock.cli.doctor`."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Any

import httpx2

from penstock.client.config import profile_path, resolve
from penstock.client.session import Session, unreachable
from penstock.core.errors import NoKey, PenstockError
from penstock.core.findings import Finding, ok, problem, warning

_PATIENCE_S = 10.0


def examine_server(address: str) -> Iterator[Finding]:
    """Yield what there is to say about the server at `address`.

    Raises:
        ServerUnreachable: Nothing answers there.
    """
    try:
        answer = httpx2.get(f"{address}/readyz", timeout=_PATIENCE_S)
        ready: dict[str, Any] = answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise unreachable(address, str(error)) from None
    yield ok("server", f"{address} answers.")
    if ready.get("stores") != "ok":
        yield problem("stores", str(ready.get("stores")), "See the server's log and its disk.")
    for name in ready.get("not_serving", ()):
        yield problem(
            "serving", f"{name} does not serve.", "See its problem below, or deploy it again."
        )
    yield from _examine_profile()
    yield from _examine_deployments(address)


def _examine_profile() -> Iterator[Finding]:
    path = profile_path()
    if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield problem(
            "permissions", f"{path} holds a key and others can read it.", f"chmod 600 {path}"
        )


def _examine_deployments(address: str) -> Iterator[Finding]:
    try:
        session = Session(resolve(None, address))
    except NoKey:
        yield warning(
            "deployments",
            "They cannot be looked at without a key.",
            "Set PENSTOCK_API_KEY, or use penstock login.",
        )
        return
    try:
        project = session.get("/v1/whoami").get("project")
        projects = [project] if project else _projects(session)
        yield from _examine_environments(session, sees_all=project is None)
        for name in projects:
            for deployment in session.get(f"/v1/{name}")["deployments"]:
                yield _examine_deployment(deployment)
    except PenstockError as error:
        yield warning("deployments", error.message, error.hint or "Use a key that may read.")
    finally:
        session.close()


def _examine_environments(session: Session, *, sees_all: bool) -> Iterator[Finding]:
    """Yield what there is to say about interpreters and, to an admin key, about environments."""
    pythons = session.get("/v1/environment").get("pythons", [])
    listed = ", ".join(python["version"] for python in pythons)
    yield ok("environments", f"They can be built for Python {listed}.")
    if not sees_all:
        return
    for found in session.get("/v1/environments")["environments"]:
        name = f"{found['key'][:12]} (Python {found['python']})"
        users = len(found["used_by"])
        if users and not found["built"]:
            yield warning(
                "environments",
                f"{name} is gone, and {users} versions use it.",
                "It is built again when one of them starts.",
            )
        else:
            used = "is used by nobody and goes soon" if not users else f"serves {users} versions"
            yield ok("environments", f"{name} with {len(found['packages'])} packages {used}.")


def _projects(session: Session) -> list[str]:
    return [project["name"] for project in session.get("/v1/projects")["projects"]]


def _examine_deployment(found: dict[str, Any]) -> Finding:
    name = f"{found['project']}/{found['name']}"
    quarantine, trouble = found.get("quarantine"), found.get("problem")
    if quarantine:
        return problem(
            "deployments",
            f"{name}: the last {quarantine['deaths']} workers died: {quarantine['reason']}",
            "Deploy a mended version, or activate an earlier one.",
        )
    if trouble:
        return problem("deployments", f"{name}: {trouble['message']}", trouble.get("hint") or "")
    withdrawn = [v["number"] for v in found["versions"] if v["state"] == "withdrawn"]
    if withdrawn and max(withdrawn) > (found["active"] or 0):
        return warning(
            "deployments",
            f"{name}: version {max(withdrawn)} was withdrawn; version {found['active']} serves.",
            "See its failure, and deploy a mended version.",
        )
    return ok("deployments", f"{name} is {found['state']}.")
