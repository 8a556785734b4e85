"""Which server to talk to and with which key, and the profile file that remembers both.

`resolve` is called by everything of the client that talks; `write_profile` by `penstock login` and
by a fresh `penstock serve`. The order is: argument, what `penstock.start()` set in this process,
environment (`PENSTOCK_SERVER`, `PENSTOCK_API_KEY`), profile, `http://127.0.0.1:8700`.

The profile's key belongs to the profile's server: it is not sent to any other address.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from penstock.core.errors import InvalidSetting, NoKey

DEFAULT_SERVER = "http://127.0.0.1:8700"

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Profile:
    """What the profile file holds. The key is left out of the text form."""

    server: str | None = None
    api_key: str | None = field(default=None, repr=False)
    project: str | None = None


@dataclass(frozen=True)
class Target:
    """A server, the key to use there, and the project named by the profile, if any.

    Two targets are equal when server and key are: their calls may share connections.
    """

    server: str
    api_key: str = field(repr=False)
    project: str | None = field(default=None, compare=False)


_process_default = Profile()


def profile_path() -> Path:
    """Return where the profile is kept.

    `PENSTOCK_PROFILE` names the file itself; otherwise it is `penstock/profile.json` below
    `XDG_CONFIG_HOME`, or below `~/.config`.
    """
    named = os.environ.get("PENSTOCK_PROFILE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "penstock" / "profile.json"


def read_profile(path: Path | None = None) -> Profile:
    """Return the profile (or another file of its form), empty when there is no file.

    Raises:
        InvalidSetting: The file is not the JSON object that `write_profile` makes.
    """
    path = path or profile_path()
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profile()
    except (OSError, ValueError) as error:
        raise _unreadable(path, type(error).__name__) from None
    if not isinstance(fields, dict):
        raise _unreadable(path, "it is not a JSON object")
    found = {name: fields.get(name) for name in ("server", "api_key", "project")}
    if not all(value is None or isinstance(value, str) for value in found.values()):
        raise _unreadable(path, "a field is not text")
    return Profile(**found)


def _unreadable(path: Path, why: str) -> InvalidSetting:
    return InvalidSetting(
        f"The profile {str(path)!r} cannot be read: {why}.",
        hint="Run `penstock login` again, or delete the file.",
    )


def write_profile(
    *, server: str, api_key: str, project: str | None = None, path: Path | None = None
) -> Path:
    """Write the profile in one step, readable by its owner only, and return its path.

    Args:
        server: Address of the server, for example `http://127.0.0.1:8700`.
        api_key: Key to use there.
        project: Project to use when the key does not name one.
        path: Another file to write, in the same form.
    """
    path = path or profile_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fields = {"server": check_server(server), "api_key": check_key(api_key), "project": project}
    # mkstemp makes the file with mode 0600, so the key is never readable by others, not even
    # for a moment; the rename makes a half-written profile impossible.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".profile-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(fields, out, indent=2)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def set_process_default(server: str | None, api_key: str | None) -> None:
    """Make `server` and `api_key` the defaults of this process; None takes them back."""
    global _process_default  # noqa: PLW0603 - one default per process is what is asked for
    _process_default = Profile(server=server, api_key=api_key)


def resolve_server(server: str | None = None) -> str:
    """Return the address of the server to talk to, without a trailing slash.

    Raises:
        InvalidSetting: The address is no `http://` or `https://` address.
    """
    chosen = server or _process_default.server or os.environ.get("PENSTOCK_SERVER")
    return check_server(chosen or read_profile().server or DEFAULT_SERVER)


def resolve(api_key: str | None = None, server: str | None = None) -> Target:
    """Return the server to talk to and the key to use there.

    Raises:
        NoKey: No key was found; the message lists the places looked at.
        InvalidSetting: The address, the key or the profile is malformed.
    """
    address = resolve_server(server)
    profile = read_profile()
    mine = profile if same_server(profile.server or DEFAULT_SERVER, address) else Profile()
    key = api_key or _started_key(address) or os.environ.get("PENSTOCK_API_KEY") or mine.api_key
    if not key:
        raise _no_key(address, profile)
    return Target(server=address, api_key=check_key(key), project=mine.project)


def _started_key(address: str) -> str | None:
    default = _process_default
    if default.server is None or not same_server(default.server, address):
        return None
    return default.api_key


def _no_key(address: str, profile: Profile) -> NoKey:
    other = ""
    if profile.api_key and profile.server:
        other = f" The profile has a key, but for {profile.server}, so it was not used."
    return NoKey(
        f"No API key for {address}.{other}",
        hint="Give api_key=, or set PENSTOCK_API_KEY, or run `penstock login` once.",
    )


def check_server(given: object) -> str:
    """Return the address in its plain form: scheme, host and port, no trailing slash.

    Raises:
        InvalidSetting: It is not an `http://` or `https://` address.
    """
    text = str(given).strip()
    if "://" not in text:
        text = f"http://{text}"
    parts = urlsplit(text)
    try:
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidSetting(
            f"{str(given)!r} is not the address of a server.",
            hint=f"Write it like {DEFAULT_SERVER}; the key goes into api_key=.",
        )
    return text.rstrip("/")


def check_key(given: object) -> str:
    """Return the key without surrounding white space.

    Raises:
        InvalidSetting: It is no text, or has characters no key has. The message never shows it.
    """
    if not isinstance(given, str):
        raise InvalidSetting(f"The API key must be a str, not {type(given).__name__}.")
    key = given.strip()
    if key.lower().startswith("bearer "):
        key = key[7:].strip()
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise InvalidSetting(
            "The API key has characters that no key has (a space, a line break, an accent).",
            hint="Copy it again; a key looks like pk_d_01234567_ and 32 characters.",
        )
    return key


def is_loopback(server: str) -> bool:
    """Whether the address is on this machine."""
    return urlsplit(server).hostname in _LOOPBACK


def same_server(one: str, other: str) -> bool:
    """Whether two addresses mean the same server; the names of this machine are equal."""
    return _identity(one) == _identity(other)


def _identity(server: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(check_server(server))
    host = "localhost" if parts.hostname in _LOOPBACK else str(parts.hostname)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, host, port, parts.path
