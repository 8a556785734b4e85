"""What a key is given besides its scope: a label, some deployments only, an end, a rate.

Used by `keys.Keys`, which makes keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.core.errors import InvalidSetting
from penstock.core.names import check_deployment_name

#: What is said of a key stays in the memory of every gateway for as long as there is the key.
MOST_DEPLOYMENTS, LONGEST_LABEL = 1000, 1000


@dataclass(frozen=True)
class Grant:
    """What a key is to be given besides its scope; see `KeyRecord`.

    Attributes:
        label: What it is for, in the words of whoever asked.
        deployments: The only deployments it may act on; None for all.
        expires_in_s: Seconds until it stops working; None for never.
        rate_per_s: Requests a second; None for the server's limit.
        created_by: Prefix of the key that asks for it.
    """

    label: str = ""
    deployments: tuple[str, ...] | None = None
    expires_in_s: float | None = None
    rate_per_s: float | None = None
    created_by: str = "server"


def check_grant(grant: Grant) -> None:
    """Raise `InvalidSetting` or `InvalidName` if a key cannot be given this."""
    if len(grant.deployments or ()) > MOST_DEPLOYMENTS or len(grant.label) > LONGEST_LABEL:
        raise InvalidSetting(
            f"A key may be for at most {MOST_DEPLOYMENTS} deployments, and its label have at most "
            f"{LONGEST_LABEL} characters."
        )
    for name in grant.deployments or ():
        check_deployment_name(name, is_new=False)
    if grant.deployments == ():
        raise InvalidSetting(
            "A key for no deployment can do nothing.", hint="Name some, or leave them out for all."
        )
    for what, value in (("expires_in_s", grant.expires_in_s), ("rate_per_s", grant.rate_per_s)):
        if value is not None and not 0 < value < float("inf"):
            raise InvalidSetting(f"{what} is {value}; it must be greater than 0.")
