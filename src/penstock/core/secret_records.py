"""Secrets as the server keeps them, and what their names look like."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.core.errors import InvalidName, InvalidSetting

#: Largest secret, in bytes of UTF-8: room for a certificate chain, not for a data set.
MAX_SECRET_BYTES = 64 * 1024

#: Secrets that one deployment may declare.
MAX_DECLARED = 256

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class StoredSecret:
    """A secret as it is stored. `sealed` is encrypted; times are seconds since the epoch."""

    project: str
    name: str
    sealed: bytes
    created_at: float
    updated_at: float
    updated_by: str


def check_secret_name(name: object) -> str:
    """Return `name` if it may name a secret.

    Raises:
        InvalidName: It is not 1 to 64 letters, digits, `_`, `.` and `-` that begin with a letter
            or `_`.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            f"{str(name)[:80]!r} is not the name of a secret: use 1 to 64 letters, digits, '_', "
            "'.' and '-', beginning with a letter or '_'.",
            hint="For example PAYMENTS_TOKEN.",
        )
    return name


def check_secret_value(name: str, value: object) -> str:
    """Return `value` if it may be a secret. No message repeats it.

    Raises:
        InvalidSetting: It is no text, empty or too long.
    """
    if not isinstance(value, str) or not value:
        raise InvalidSetting(f"The secret {name} must be a text that is not empty.")
    if len(value.encode("utf-8", "surrogatepass")) > MAX_SECRET_BYTES:
        raise InvalidSetting(f"The secret {name} has more than {MAX_SECRET_BYTES} bytes.")
    return value
