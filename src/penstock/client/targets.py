"""Which server and project a call of the client is about. Called by `publish` and by the verbs."""

from __future__ import annotations

from penstock.client.config import resolve
from penstock.client.session import Session, session_for
from penstock.core.errors import InvalidSetting


def session_of(
    api_key: str | None = None, server: str | None = None, project: str | None = None
) -> tuple[Session, _Project]:
    """Return the session for a server, and the project that is meant when it is needed.

    Args:
        api_key: The key; found as `penstock.deploy` says when missing.
        server: The server's address; found likewise.
        project: The project; asked of the server when missing.
    """
    target = resolve(api_key, server)
    session = session_for(target)
    return session, _Project(session, project, target.project)


class _Project:
    """A project's name, asked for when it is first written into an address."""

    def __init__(self, session: Session, given: str | None, usual: str | None) -> None:
        self._session = session
        self._usual = usual
        self._name = given

    def __str__(self) -> str:
        if self._name is None:
            self._name = project_of(self._session, self._usual)
        return self._name


def project_of(session: Session, usual: str | None) -> str:
    """Return the key's project; for an admin key the profile's, or the server's only one.

    Raises:
        InvalidSetting: It is an admin key, and there are several.
    """
    found = session.get("/v1/whoami").get("project") or usual
    if found:
        return str(found)
    names = [str(project["name"]) for project in session.get("/v1/projects")["projects"]]
    if len(names) == 1:
        return names[0]
    raise InvalidSetting(
        f"An admin key may act in every project; this server has {', '.join(names) or 'none'}.",
        hint="Give project=, or use a deploy key.",
    )
