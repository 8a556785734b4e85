"""The secrets that a project's webhooks are signed with: made, shown once, replaced.

Called by the webhook routes and, for each attempt, by `webhooks`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from penstock.control.database import Database
from penstock.control.secrets import Secrets
from penstock.control.webhook_signing import new_secret
from penstock.core.delivery_records import SecretRecord
from penstock.core.errors import Conflict

#: Seconds that a replaced secret goes on signing beside the new one.
OVERLAP_S = 24 * 3600.0


class WebhookSecrets:
    """One secret per project, made when it is first needed. Methods run on the event loop.

    Args:
        database: Where secrets are kept.
        secrets: Encrypts what is kept.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self, database: Database, secrets: Secrets, now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._now = now

    async def signing(self, project: str) -> list[str]:
        """Return the secrets to sign with, the present one first. Raises `NotFound`."""
        return await self._database.call(self._signing, project, self._now())

    async def show(self, project: str) -> SecretRecord:
        """Return the present secret, once.

        Raises:
            NotFound: There is no such project.
            Conflict: It was shown before.
        """
        return await self._database.call(self._show, project, self._now())

    async def rotate(self, project: str) -> SecretRecord:
        """Replace the secret; webhooks carry both signatures for a day. Raises `NotFound`."""
        now = self._now()
        return await self._database.call(self._replace, project, now, shown=True)

    # The rest runs on the database thread.

    def _signing(self, project: str, now: float) -> list[str]:
        found = self._database.records.webhooks.secrets(project, now)
        present = [record for record in found if record.retired_at is None]
        if not present:
            self._replace(project, now, shown=False)
            found = self._database.records.webhooks.secrets(project, now)
        return [self._opened(record).secret for record in found]

    def _show(self, project: str, now: float) -> SecretRecord:
        store = self._database.records.webhooks
        found = store.secrets(project, now)
        if not found or found[0].retired_at is not None:
            return self._replace(project, now, shown=True)
        if not store.mark_shown(found[0].seq, now):
            raise Conflict(
                f"The webhook secret of project {project!r} was shown before, and is shown once.",
                hint="Make a new one: penstock webhooks secret --rotate, or POST on the same "
                "address; for a day webhooks are signed with both.",
            )
        return self._opened(found[0])

    def _opened(self, record: SecretRecord) -> SecretRecord:
        return replace(record, secret=self._secrets.open_text(record.project, record.secret))

    def _replace(self, project: str, now: float, *, shown: bool) -> SecretRecord:
        store = self._database.records.webhooks
        text = self._secrets.seal_text(project, new_secret())
        return self._opened(store.replace_secret(project, text, now, now + OVERLAP_S, shown=shown))
