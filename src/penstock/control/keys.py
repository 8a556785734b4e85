"""API keys: making, checking, revoking them, and the first ones of a new server.

`check` is on the path of every predict call: a hash, which is remembered, and a look-up in a table
that lives in the server process and is kept equal to the records. A table of hashes needs no
compare in constant time: what a caller could time is the SHA-256 of a guess, which says nothing
about any key.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from penstock.control.database import Database
from penstock.control.key_grants import Grant, check_grant
from penstock.control.key_text import check_given, digest_in, digest_of, make_key
from penstock.control.projects import Projects
from penstock.control.rate_limits import RateLimits
from penstock.core.errors import Conflict, Forbidden, NotFound, Unauthorized
from penstock.core.records import KeyRecord, Scope

#: The project every server begins with.
FIRST_PROJECT = "default"

#: Label that marks the admin key given from outside; there is at most one such key.
GIVEN_LABEL = "PENSTOCK_ADMIN_KEY"


async def _nobody_listens(_record: KeyRecord, _valid: bool) -> None:
    return


def expired_key(record: KeyRecord) -> Unauthorized:
    """Return the error for a key whose time is over."""
    return Unauthorized(f"The API key {record.prefix} has expired.", hint="Ask for a new one.")


def unknown_key() -> Unauthorized:
    """Return the error for a key that is not in the table."""
    return Unauthorized(
        "The API key is unknown or was revoked.",
        hint="Check the key and that it is for this server.",
    )


class IssuedKey(NamedTuple):
    """A key that was just made: its text, shown this once, and what is kept of it."""

    text: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"IssuedKey({self.record.prefix}…)"


class FirstKeys(NamedTuple):
    """The keys of a new server. `admin` is None if that key was given from outside."""

    admin: IssuedKey | None
    private: IssuedKey
    public: IssuedKey


class Keys:
    """The API keys of the server. Every method runs on the event loop.

    Args:
        database: Where records are kept.
        projects: Makes the first project.
        now: Clock, seconds since the epoch.
        limits: How many requests a key may make.
    """

    def __init__(
        self,
        database: Database,
        projects: Projects,
        now: Callable[[], float] = time.time,
        limits: RateLimits | None = None,
    ) -> None:
        self.limits = limits or RateLimits()
        self._used: set[str] = set()
        self._database = database
        self._projects = projects
        self._now = now
        self._by_digest: dict[bytes, KeyRecord] = {}
        #: Told of every key that was made (True) or revoked (False); waited for before we answer.
        self.on_change: Callable[[KeyRecord, bool], Awaitable[None]] = _nobody_listens

    async def load(self) -> None:
        """Fill the table from the records; needed once, before the first `check`."""
        await self._database.call(self._load)

    # The next four run on the database thread and change records and table in one go: a caller
    # that is cancelled in between cannot leave a revoked key in the table.

    def _load(self) -> None:
        found = self._database.records.list_keys()
        self._by_digest = {key.digest: key for key in found if key.revoked_at is None}
        for record in self._by_digest.values():
            self.limits.know(record)

    def _add(self, record: KeyRecord) -> None:
        self._database.records.add_key(record)
        self._by_digest[record.digest] = record
        self.limits.know(record)

    def _revoke(self, key_id: str, at: float) -> KeyRecord | None:
        record = self._database.records.revoke_key(key_id, at)
        if record is not None:
            self._by_digest.pop(record.digest, None)
        return record

    def _forget(self, record: KeyRecord) -> None:
        self._database.records.delete_key(record.key_id)
        self._by_digest.pop(record.digest, None)

    def check(self, authorization: bytes | None) -> KeyRecord:
        """Return the key of a request, given its `Authorization` header as it came.

        Raises:
            Unauthorized: There is no key in it, or one that is unknown, revoked or expired.
            RateLimited: It made more requests than it may.
        """
        # As `admit` does it, without another call: this is done for every request.
        record = self._by_digest.get(digest_in(authorization))
        if record is None or record.expires_at is not None or self.limits.is_on:
            return self._admit(record)
        self._used.add(record.key_id)
        return record

    def look(self, authorization: bytes | None) -> KeyRecord:
        """Like `check`, without counting: for a request that is counted at another place.

        Raises:
            Unauthorized: There is no key in it, or one that is unknown, revoked or expired.
        """
        return self._valid(self._by_digest.get(digest_in(authorization)))

    def admit(self, digest: bytes) -> KeyRecord:
        """Return the key whose text has this SHA-256, and count one request of it.

        Raises:
            Unauthorized: It is unknown, revoked or expired.
            RateLimited: It made more requests than it may.
        """
        return self._admit(self._by_digest.get(digest))

    def _admit(self, found: KeyRecord | None) -> KeyRecord:
        record = self._valid(found)
        self._used.add(record.key_id)
        if self.limits.is_on:
            self.limits.take(record)
        return record

    def _valid(self, record: KeyRecord | None) -> KeyRecord:
        if record is None:
            raise unknown_key()
        if not self._lives(record):
            raise expired_key(record)
        return record

    def by_id(self, key_id: str) -> KeyRecord | None:
        """Return a key by its id while it is valid; None if it is revoked, expired or unknown."""
        found = (key for key in tuple(self._by_digest.values()) if key.key_id == key_id)
        record = next(found, None)
        expired = record is not None and not self._lives(record)
        return None if expired else record

    def _lives(self, record: KeyRecord) -> bool:
        return record.expires_at is None or record.expires_at > self._now()

    def valid(self) -> Sequence[KeyRecord]:
        """Return the keys that are neither revoked nor forgotten."""
        return tuple(self._by_digest.values())

    async def note_uses(self) -> int:
        """Write down which keys were used since this was last called; return how many.

        Called every minute or so: a request only puts the key's id into a set.
        """
        used, self._used = self._used, set()
        if used:
            await self._database.call(
                self._database.records.mark_keys_used, sorted(used), self._now()
            )
        return len(used)

    async def issue(
        self, scope: Scope, project: str | None, label: str = "", grant: Grant | None = None
    ) -> IssuedKey:
        """Make a key. Its text is in the answer and nowhere else.

        Args:
            scope: What it may do.
            project: Where; None, for all projects, exactly when `scope` is admin.
            label: What it is for, in the words of whoever asked.
            grant: What else is said of it; with its own label.

        Raises:
            NotFound: There is no such project.
            Conflict: An admin key was asked for one project, or another key for all of them.
            InvalidSetting: It would have expired already, or its limit is none.
        """
        given = grant or Grant(label)
        check_grant(given)
        if (project is None) != (scope is Scope.ADMIN):
            raise Conflict(
                "An admin key acts in every project, any other key in exactly one.",
                hint="Ask for a deploy, predict or read key of the project.",
            )
        text, prefix = make_key(scope)
        record = self._record(text.encode(), prefix, scope, project, given)
        await self._database.call(self._add, record)
        await self.on_change(record, True)
        return IssuedKey(text, record)

    def no_more_than(self, maker: KeyRecord, grant: Grant) -> Grant:
        """Return `grant` within what its maker may do: it ends with it and asks no oftener.

        Raises:
            Forbidden: It is to outlast its maker, or to make more requests a second.
        """
        left = None if maker.expires_at is None else maker.expires_at - self._now()
        lasts, rate = grant.expires_in_s, grant.rate_per_s
        if left is not None and lasts is not None and lasts > left:
            raise Forbidden(f"The key {maker.prefix} expires in {left:.0f} s, before this one.")
        if maker.rate_per_s is not None and rate is not None and rate > maker.rate_per_s:
            raise Forbidden(
                f"The key {maker.prefix} itself may make {maker.rate_per_s:g} a second."
            )
        return replace(
            grant,
            expires_in_s=left if lasts is None else lasts,
            rate_per_s=maker.rate_per_s if rate is None else rate,
        )

    def _record(
        self, text: bytes, prefix: str, scope: Scope, project: str | None, grant: Grant
    ) -> KeyRecord:
        now, lasts = self._now(), grant.expires_in_s
        return KeyRecord(
            key_id=secrets.token_hex(8),
            digest=digest_of(text),
            prefix=prefix,
            scope=scope,
            project=project,
            label=grant.label,
            created_at=now,
            deployments=grant.deployments,
            expires_at=None if lasts is None else now + lasts,
            created_by=grant.created_by,
            rate_per_s=grant.rate_per_s,
        )

    async def list(self, project: str | None = None) -> list[KeyRecord]:
        """Return the keys of a project (None: all keys), oldest first, revoked ones too."""
        return await self._database.call(self._database.records.list_keys, project)

    async def revoke(self, key_id: str) -> KeyRecord:
        """Revoke a key; it is refused from the moment this returns. Revoking twice is fine.

        Raises:
            NotFound: There is no such key.
        """
        record = await self._database.call(self._revoke, key_id, self._now())
        if record is None:
            raise NotFound(f"There is no key {key_id!r}.")
        await self.on_change(record, False)
        return record

    async def bootstrap(self, given_admin_key: str | None = None) -> FirstKeys | None:
        """Make the first project and its keys if the server is new; register a given admin key.

        Call it at every start, after `load`. A given key replaces the one that was given before;
        when none is given, the one given last stays valid.

        Args:
            given_admin_key: Text of the admin key set from outside (`PENSTOCK_ADMIN_KEY`).

        Returns:
            The new keys, to be shown once; None if the server already had its first keys.

        Raises:
            InvalidSetting: The given key is too short or has characters no header can carry.
            Conflict: The given key was revoked, or is one of the server's other keys.
        """
        given = None if given_admin_key is None else check_given(given_admin_key)
        await self._projects.ensure(FIRST_PROJECT)
        known = await self.list()
        if given is not None:
            await self._register_given(given, known)
        if any(key.label != GIVEN_LABEL for key in known):
            return None
        return FirstKeys(
            admin=await self.issue(Scope.ADMIN, None, "first admin key") if not given else None,
            private=await self.issue(Scope.DEPLOY, FIRST_PROJECT, "first private key"),
            public=await self.issue(Scope.PREDICT, FIRST_PROJECT, "first public key"),
        )

    async def _register_given(self, text: bytes, known: Sequence[KeyRecord]) -> None:
        digest = digest_of(text)
        same = next((key for key in known if key.digest == digest), None)
        if same is not None and (same.revoked_at is not None or same.scope is not Scope.ADMIN):
            state = "was revoked" if same.revoked_at is not None else "is not an admin key"
            raise Conflict(
                f"The key given in {GIVEN_LABEL} is already on this server and {state}.",
                hint="Give another long random text.",
            )
        if same is None:
            prefix = GIVEN_LABEL.lower()
            record = self._record(text, prefix, Scope.ADMIN, None, Grant(GIVEN_LABEL))
            await self._database.call(self._add, record)
        # Forgotten and not revoked, so that going back to an earlier value works. One that a
        # person revoked stays known, and refused.
        for key in known:
            if key.label == GIVEN_LABEL and key.digest != digest and key.revoked_at is None:
                await self._database.call(self._forget, key)
