"""The projects' secrets: set, listed by name, deleted, handed to the workers that declare them.

Values are encrypted before they reach the records and leave this process on the sockets of workers
only. A deployment's version names the secrets it wants; its workers get those and no others, at
their start and again when they ask. Called by the secret routes, `pools` and `worker_requests`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from penstock.codec.memory import SecretValues
from penstock.control.database import Database
from penstock.core.errors import NotFound, SecretNotSet
from penstock.core.redaction import HIDDEN
from penstock.core.secret_records import StoredSecret, check_secret_name, check_secret_value
from penstock.engine.base import VersionKey
from penstock.stores.keyring import Keyring

#: What a webhook secret in the records begins with once it is encrypted.
_SEALED = "sealed:"


class SecretInfo(NamedTuple):
    """A secret as people see it: never its value. Times are seconds since the epoch."""

    name: str
    created_at: float
    updated_at: float
    updated_by: str


class Secrets:
    """The secrets of all projects. Public methods run on the event loop.

    Args:
        database: Where they are kept, encrypted.
        keyring: Encrypts them; used on the database thread only.
        now: Clock, seconds since the epoch.
    """

    def __init__(
        self, database: Database, keyring: Keyring, now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._store = database.records.secrets
        self._keyring = keyring
        self._now = now
        self._declared: dict[VersionKey, tuple[str, ...]] = {}

    # --- people ---

    async def set(self, project: str, name: str, value: str, actor: str) -> bool:
        """Write a secret; True if it is new. Workers that run see it within seconds.

        Args:
            project: The project.
            name: Its name.
            value: The secret.
            actor: Prefix of the key that asks for it.

        Raises:
            InvalidName, InvalidSetting: Name or value is not one.
            NotFound: There is no such project.
        """
        check_secret_name(name)
        check_secret_value(name, value)
        HIDDEN.add([value])
        return await self._database.call(self._put, project, name, value, actor)

    async def list(self, project: str) -> list[SecretInfo]:
        """Return the names of a project's secrets, sorted, and when they were set."""
        found = await self._database.call(self._store.list, project)
        return [SecretInfo(s.name, s.created_at, s.updated_at, s.updated_by) for s in found]

    async def delete(self, project: str, name: str) -> None:
        """Forget a secret. Raises `NotFound`."""
        if not await self._database.call(self._store.delete, project, name):
            raise NotFound(f"There is no secret {name[:80]!r} in project {project!r}.")

    async def rotate(self) -> int:
        """Encrypt everything with a new key; return how many values that were.

        Raises:
            Conflict: The key is given from outside.
        """
        return await self._database.call(self._rotate)

    async def settle(self) -> None:
        """Finish a rotation that was interrupted, and encrypt what is not; done at every start.

        Raises:
            StoreError: The keys that the stored secrets are encrypted with are not here.
        """
        await self._database.call(self._settle)

    # --- workers ---

    async def check(self, project: str, names: Iterable[str]) -> None:
        """Raise `SecretNotSet` if the project lacks one of the secrets a version declares."""
        wanted = sorted(set(names))
        for name in wanted:
            check_secret_name(name)
        found = await self._database.call(self._store.get, project, wanted) if wanted else ()
        missing = [name for name in wanted if name not in {secret.name for secret in found}]
        if missing:
            raise SecretNotSet(
                f"Project {project!r} has no secret {', '.join(missing)}, which this deployment "
                "declares.",
                hint=f"Run `penstock secrets set {missing[0]}`, then deploy again.",
                names=missing,
            )

    def provider(
        self, key: VersionKey, names: tuple[str, ...]
    ) -> Callable[[], Awaitable[Mapping[str, str]]] | None:
        """Return what gives the workers of a version their secrets; None if it declares none."""
        if not names:
            return None
        self._declared[key] = names
        return partial(self.values, key)

    async def values(self, key: VersionKey) -> dict[str, str]:
        """Return the secrets that a version declares and that are set."""
        names = self._declared.get(key, ())
        if not names:
            return {}
        found = await self._database.call(self._values, key.project, names)
        HIDDEN.add(found.values())
        return found

    async def answer(self, key: VersionKey) -> SecretValues:
        """Answer a worker of version `key` that asks for its secrets."""
        return SecretValues(await self.values(key))

    # --- texts of webhooks' signing secrets, on the database thread ---

    def seal_text(self, project: str, text: str) -> str:
        """Return a webhook secret as it is stored."""
        sealed = self._keyring.seal(text.encode(), _webhook(project))
        return _SEALED + sealed.hex()

    def open_text(self, project: str, stored: str) -> str:
        """Return a webhook secret that was stored, maybe by a version that did not encrypt it."""
        if not stored.startswith(_SEALED):
            return stored
        sealed = bytes.fromhex(stored[len(_SEALED) :])
        return self._keyring.open(sealed, _webhook(project)).decode()

    # --- the rest runs on the database thread ---

    def _put(self, project: str, name: str, value: str, actor: str) -> bool:
        now = self._now()
        sealed = self._keyring.seal(value.encode("utf-8", "surrogatepass"), _about(project, name))
        return self._store.put(StoredSecret(project, name, sealed, now, now, actor))

    def _values(self, project: str, names: tuple[str, ...]) -> dict[str, str]:
        return {
            found.name: self._open(project, found.name, found.sealed)
            for found in self._store.get(project, names)
        }

    def _open(self, project: str, name: str, sealed: bytes) -> str:
        plain = self._keyring.open(sealed, _about(project, name))
        return plain.decode("utf-8", "surrogatepass")

    def _rotate(self) -> int:
        self._keyring.begin_rotation()
        return self._reseal()

    def _settle(self) -> None:
        if self._keyring.is_rotating:
            self._reseal()
        else:
            self._database.records.webhooks.reseal_secrets(self._sealed_text)

    def _reseal(self) -> int:
        count = self._store.reseal(self._anew)
        count += self._database.records.webhooks.reseal_secrets(self._anew_text)
        self._keyring.end_rotation()
        return count

    def _anew(self, project: str, name: str, sealed: bytes) -> bytes:
        about = _about(project, name)
        return self._keyring.seal(self._keyring.open(sealed, about), about)

    def _anew_text(self, project: str, stored: str) -> str:
        return self.seal_text(project, self.open_text(project, stored))

    def _sealed_text(self, project: str, stored: str) -> str:
        """Return a webhook secret encrypted; one that is must be readable."""
        if stored.startswith(_SEALED):
            self.open_text(project, stored)
            return stored
        return self.seal_text(project, stored)


def _about(project: str, name: str) -> str:
    return f"the secret {project}/{name}"


def _webhook(project: str) -> str:
    return f"the webhook secret of {project}"
