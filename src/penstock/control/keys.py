"""API keys: making, checking, revoking them, and the first ones of a new server.

`check` is on the path of every predict call: one hash and one look-up in a table that lives in the
server process and is kept equal to the records. A table of hashes needs no constant-time compare:
what a caller could time is the hash of a guess, which says nothing about any key.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from penstock.control.database import Database
from penstock.control.key_text import check_given, digest_of, key_in, make_key
from penstock.control.projects import Projects
from penstock.core.errors import Conflict, NotFound, Unauthorized
from penstock.core.records import KeyRecord, Scope

#: The project every server begins with.
FIRST_PROJECT = "default"

#: Label that marks the admin key given from outside; there is at most one such key.
GIVEN_LABEL = "PENSTOCK_ADMIN_KEY"


async def _nobody_listens(_record: KeyRecord, _valid: bool) -> None:
    return


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
    """

    def __init__(
        self, database: Database, projects: Projects, now: Callable[[], float] = time.time
    ) -> None:
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

    def _add(self, record: KeyRecord) -> None:
        self._database.records.add_key(record)
        self._by_digest[record.digest] = record

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
            Unauthorized: There is no key in it, or one that is unknown or revoked.
        """
        record = self._by_digest.get(digest_of(key_in(authorization)))
        if record is None:
            raise unknown_key()
        return record

    def known(self, digest: bytes) -> KeyRecord | None:
        """Return the valid key whose text has this SHA-256, or None."""
        return self._by_digest.get(digest)

    def valid(self) -> Sequence[KeyRecord]:
        """Return the keys that are neither revoked nor forgotten."""
        return tuple(self._by_digest.values())

    async def issue(self, scope: Scope, project: str | None, label: str = "") -> IssuedKey:
        """Make a key. Its text is in the answer and nowhere else.

        Args:
            scope: What it may do.
            project: Where; None, for all projects, exactly when `scope` is admin.
            label: What it is for, in the words of whoever asked.

        Raises:
            NotFound: There is no such project.
            Conflict: An admin key was asked for one project, or another key for all of them.
        """
        if (project is None) != (scope is Scope.ADMIN):
            raise Conflict(
                "An admin key acts in every project, any other key in exactly one.",
                hint="Ask for a deploy, predict or read key of the project.",
            )
        text, prefix = make_key(scope)
        record = self._record(text.encode(), prefix, scope, project, label)
        await self._database.call(self._add, record)
        await self.on_change(record, True)
        return IssuedKey(text, record)

    def _record(
        self, text: bytes, prefix: str, scope: Scope, project: str | None, label: str
    ) -> KeyRecord:
        return KeyRecord(
            key_id=secrets.token_hex(8),
            digest=digest_of(text),
            prefix=prefix,
            scope=scope,
            project=project,
            label=label,
            created_at=self._now(),
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
            record = self._record(text, prefix, Scope.ADMIN, None, GIVEN_LABEL)
            await self._database.call(self._add, record)
        # Forgotten and not revoked, so that going back to an earlier value works. One that a
        # person revoked stays known, and refused.
        for key in known:
            if key.label == GIVEN_LABEL and key.digest != digest and key.revoked_at is None:
                await self._database.call(self._forget, key)
