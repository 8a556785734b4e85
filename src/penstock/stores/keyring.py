"""Encrypts the secrets that the server stores: AES-256-GCM under a key that is not in the database.

The keys are lines of base64 in a file of their own; the first one encrypts, every one decrypts. A
rotation puts a new key first, has everything sealed anew, then drops the others: after a crash in
between both keys are there. What is sealed is bound to what it is about, so that a value cannot be
moved to another name. Used by `penstock.control.secrets` on the database thread.

A sealed value is `1 | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag` (NIST SP 800-38D).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from penstock.core.errors import Conflict, InvalidSetting, StoreError

KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_BYTES = 4
_FORMAT = b"\x01"
_HEAD_BYTES = len(_FORMAT) + _ID_BYTES + _NONCE_BYTES


class Keyring:
    """The encryption keys.

    Args:
        path: File of the keys; made when missing. Not touched when keys are given.
        given: Keys from the environment in base64, with commas between; the first one encrypts.

    Raises:
        InvalidSetting: A given key is no 32 bytes in base64.
        StoreError: The file cannot be used.
    """

    def __init__(self, path: Path, given: str = "") -> None:
        self._path = path
        self._is_given = bool(given)
        self._keys = _parse(given.split(",")) if given else self._read()

    def __repr__(self) -> str:
        return f"Keyring({len(self._keys)} keys)"

    @property
    def is_rotating(self) -> bool:
        """Whether there are keys besides the one that encrypts."""
        return len(self._keys) > 1

    def seal(self, plain: bytes, about: str) -> bytes:
        """Return `plain` encrypted; `about` is needed to open it again."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, plain, about.encode())
        return _FORMAT + _id_of(key) + nonce + sealed

    def open(self, sealed: bytes, about: str) -> bytes:
        """Return what was sealed about the same thing.

        Raises:
            StoreError: It was changed, is of another thing, or its key is not here.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        wanted = sealed[len(_FORMAT) : len(_FORMAT) + _ID_BYTES]
        key = next((key for key in self._keys if _id_of(key) == wanted), None)
        if sealed[: len(_FORMAT)] != _FORMAT or key is None:
            raise StoreError(
                f"The key that {about} is encrypted with is not here.",
                hint=f"Bring back the file {self._path} or the key in PENSTOCK_SECRETS_KEY that "
                "this data folder was used with.",
            )
        nonce = sealed[len(_FORMAT) + _ID_BYTES : _HEAD_BYTES]
        try:
            return AESGCM(key).decrypt(nonce, sealed[_HEAD_BYTES:], about.encode())
        except InvalidTag:
            raise StoreError(
                f"The stored value of {about} was changed and cannot be decrypted.",
                hint="Set the secret again.",
            ) from None

    def begin_rotation(self) -> None:
        """Encrypt with a new key from now on; the others still decrypt.

        Raises:
            Conflict: The keys were given from outside.
            StoreError: The file cannot be written.
        """
        if self._is_given:
            raise Conflict(
                "The encryption key is given in PENSTOCK_SECRETS_KEY and cannot be replaced here.",
                hint="Start the server with PENSTOCK_SECRETS_KEY=<new key>,<old key>: it encrypts "
                "everything anew. Then drop the old one.",
            )
        self._keep([secrets.token_bytes(KEY_BYTES), *self._keys])

    def end_rotation(self) -> None:
        """Drop the keys that nothing is encrypted with any more."""
        if self._is_given:
            self._keys = self._keys[:1]
        else:
            self._keep(self._keys[:1])

    def _read(self) -> list[bytes]:
        try:
            text = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            fresh = [secrets.token_bytes(KEY_BYTES)]
            self._write(fresh)
            return fresh
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"The keys in {self._path} cannot be read: {error}.") from None
        try:
            return _parse(text.split())
        except InvalidSetting:
            raise StoreError(
                f"{self._path} does not hold encryption keys.",
                hint="Bring back the file from a backup: without it the secrets are lost.",
            ) from None

    def _keep(self, keys: list[bytes]) -> None:
        self._write(keys)
        self._keys = keys

    def _write(self, keys: list[bytes]) -> None:
        """Write the file whole or not at all, readable by its owner only."""
        text = "".join(base64.b64encode(key).decode("ascii") + "\n" for key in keys)
        unfinished = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise StoreError(
                f"The file of encryption keys {self._path} cannot be written: {error.strerror}."
            ) from None


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _parse(texts: list[str]) -> list[bytes]:
    keys = []
    for text in filter(None, (text.strip() for text in texts)):
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise InvalidSetting(
                f"PENSTOCK_SECRETS_KEY is not {KEY_BYTES} bytes in base64.",
                hint="Make one with: head -c 32 /dev/urandom | base64",
            )
        keys.append(key)
    if not keys:
        raise InvalidSetting("There is no encryption key.")
    return keys


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"penstock key id" + key).digest()[:_ID_BYTES]
