"""Signatures of webhooks: the Standard Webhooks scheme, version 1 (symmetric).

A receiver checks `webhook-signature` with any library of that standard and the project's secret.
Called by `webhooks` for each attempt; secrets are kept by `webhook_secrets`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"

_SECRET_BYTES = 32


def new_secret() -> str:
    """Return a fresh secret in its text form."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def signed_headers(
    message_id: str, at: float, body: bytes, secret_texts: Sequence[str]
) -> dict[str, str]:
    """Return the headers that tell a receiver which message this is and who sent it.

    Args:
        message_id: The same for every attempt of one delivery.
        at: Time of this attempt, seconds since the epoch.
        body: The exact bytes of the request's body.
        secret_texts: Secrets to sign with, the newest first; all are valid for a receiver.
    """
    timestamp = str(int(at))
    signed = b".".join((message_id.encode("ascii"), timestamp.encode("ascii"), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(text, signed) for text in secret_texts),
    }


def _signature(secret_text: str, signed: bytes) -> str:
    key = base64.b64decode(secret_text.removeprefix(PREFIX))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"
