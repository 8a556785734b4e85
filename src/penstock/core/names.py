"""What a legal name, number and identifier look like.

Every place that accepts a name from outside calls one of these functions, so a name that got in
is safe in a URL, in a log line and in a listing. Names are identifiers, never paths.
"""

from __future__ import annotations

import os
import re

from penstock.core.errors import InvalidName

MAX_NAME_LENGTH = 20

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

#: Words that are routes below `/v1/` and therefore cannot be names of new projects.
RESERVED_PROJECT_NAMES = frozenset(
    {"audit", "environment", "environments", "keys", "projects", "secrets", "status", "whoami"}
)

#: Words that are routes below `/v1/<project>/` and therefore cannot be names of new deployments.
RESERVED_DEPLOYMENT_NAMES = frozenset(
    {"audit", "blobs", "files", "keys", "memory", "runs", "secrets", "traffic", "webhooks"}
)


def _check(kind: str, name: object, reserved: frozenset[str]) -> str:
    if not isinstance(name, str):
        raise InvalidName(
            f"A {kind} name must be a str, not {type(name).__name__}.", name=repr(name)
        )
    if len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} is not a {kind} name: use 1 to {MAX_NAME_LENGTH} lower-case letters, digits "
            "and hyphens, beginning and ending with a letter or digit.",
            name=name,
        )
    if name in reserved:
        raise InvalidName(f"{name!r} is a reserved word; choose another {kind} name.", name=name)
    return name


def check_deployment_name(name: object, *, is_new: bool = True) -> str:
    """Return `name` if it may name a deployment.

    Args:
        name: What was given.
        is_new: Whether no deployment can have it yet; a name that was reserved later is kept.

    Raises:
        InvalidName: It is not 1 to 20 lower-case letters, digits and inner hyphens, or reserved.
    """
    return _check("deployment", name, RESERVED_DEPLOYMENT_NAMES if is_new else frozenset())


def check_project_name(name: object) -> str:
    """Return `name` if it may name a project.

    Raises:
        InvalidName: It is not 1 to 20 lower-case letters, digits and inner hyphens, or reserved.
    """
    return _check("project", name, RESERVED_PROJECT_NAMES)


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 in lower-case hexadecimal (64 characters)."""
    return _SHA256.fullmatch(text) is not None


def is_run_id(text: str) -> bool:
    """Whether `text` has the form of a run id (a UUID in lower case)."""
    return _RUN_ID.fullmatch(text) is not None


def new_run_id() -> str:
    """Return a fresh run id: a random UUID (version 4, RFC 9562) in lower-case text form."""
    raw = bytearray(os.urandom(16))
    raw[6] = (raw[6] & 0x0F) | 0x40
    raw[8] = (raw[8] & 0x3F) | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
