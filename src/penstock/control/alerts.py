"""Tells an address of an alert: a signed post, tried again a few times.

Made by `penstock.wiring`, called by `insight.monitoring`. Addresses are checked and messages signed
as those of webhooks are; unlike those an alert is not kept over a restart: the next look at the
limits finds out again what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from penstock.control.outgoing import Outgoing
from penstock.control.webhook_secrets import WebhookSecrets
from penstock.control.webhook_signing import signed_headers
from penstock.control.webhook_urls import read_url

log = logging.getLogger("penstock.insight")

#: Seconds before each further attempt.
PAUSES_S = (2.0, 15.0, 60.0, 300.0)


class Alerts:
    """Tells of alerts. Every method runs on the event loop.

    Args:
        outgoing: Posts.
        secrets: What is signed with.
        user_agent: Who is calling.
    """

    def __init__(self, outgoing: Outgoing, secrets: WebhookSecrets, user_agent: str) -> None:
        self._outgoing = outgoing
        self._secrets = secrets
        self._user_agent = user_agent

    async def tell(self, url: str, project: str, body: bytes) -> None:
        """Post a body until it is taken, or the last attempt failed."""
        where, message = read_url(url), f"msg_{os.urandom(16).hex()}"
        problem = ""
        for pause in (0.0, *PAUSES_S):
            await asyncio.sleep(pause)
            secrets = await self._secrets.signing(project)
            headers = {
                "Content-Type": "application/json",
                "User-Agent": self._user_agent,
                **signed_headers(message, time.time(), body, secrets),
            }
            outcome = await self._outgoing.post(where, headers, body)
            if outcome.status is not None and 200 <= outcome.status < 300:
                return
            problem = outcome.error or f"it answered {outcome.status}."
        log.error("The alert could not be told to %s: %s", where.host, problem)
