"""Where predictions are logged, as `add_logger` and a version's settings say it.

A `LoggerSpec` travels from the client to the server with a version's settings. Which platforms
there are is known to `penstock.stores.loggers`, on the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from penstock.core.errors import InvalidSetting

#: Stands for a value that is not shown.
HIDDEN = "***"

#: A logger's authentication value that begins so names an environment variable of the server.
REFERENCE = "$"
#: What such a variable begins with: a deploy must not read others of the server's environment.
VARIABLE_PREFIX = "PENSTOCK_LOGGER_"


class LoggingPlatform(str, Enum):
    """The platforms that come with Penstock; installed packages may add others by name."""

    PARQUET = "parquet"
    ARIZE = "arize"


@dataclass(frozen=True)
class LoggerSpec:
    """One place where the predictions of a version are logged.

    Attributes:
        platform: Name of the platform, in lower case.
        features: Names of a data point's values, in their order.
        targets: Names of a result's values, in their order.
        authentication: What the platform asks for, such as `api_key`. Each value is `"$NAME"`,
            which stands for the server's environment variable `PENSTOCK_LOGGER_NAME`.
        arguments: Further arguments of the platform.
        log_ms: Whether a platform that takes times as numbers gets milliseconds, not seconds.
    """

    platform: str
    features: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    authentication: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    log_ms: bool = False

    def hidden(self) -> LoggerSpec:
        """Return it as it may be shown: without the authentication's values."""
        shown = {
            name: value if is_reference(value) else HIDDEN
            for name, value in self.authentication.items()
        }
        return replace(self, authentication=shown)

    @property
    def written_out(self) -> list[str]:
        """Names of the authentication's values that are no references, sorted."""
        return sorted(n for n, value in self.authentication.items() if not is_reference(value))

    def check_references(self) -> None:
        """Raise `InvalidSetting` for a value written out: it would be kept with every version."""
        plain = self.written_out
        if plain:
            name = f"{self.platform}_{plain[0]}".upper()
            raise InvalidSetting(
                f"The logger {self.platform!r} has its {' and '.join(plain)} written out. It would "
                "lie readable with every version's settings.",
                hint=f'Write "${name}", and start the server with {VARIABLE_PREFIX}{name} set.',
            )

    def resolved(self, environ: Mapping[str, str]) -> LoggerSpec:
        """Return it with the values that its references name.

        A value that is written out, as the records of earlier releases may have it, stays.

        Raises:
            InvalidSetting: A variable is not set.
        """
        found = {n: self._looked_up(n, value, environ) for n, value in self.authentication.items()}
        return replace(self, authentication=found)

    def _looked_up(self, name: str, value: str, environ: Mapping[str, str]) -> str:
        if not is_reference(value):
            return value
        variable = VARIABLE_PREFIX + value.removeprefix(REFERENCE)
        if variable not in environ:
            raise InvalidSetting(
                f"The logger {self.platform!r} wants {name} from the server's environment variable "
                f"{variable}, which is not set.",
                hint=f"Start the server with {variable} set.",
            )
        return environ[variable]


def is_reference(value: str) -> bool:
    """Whether a value names a variable of the server's environment."""
    return value.startswith(REFERENCE)


def logger_spec(
    platform: object,
    platform_authentication: Mapping[str, str] | None = None,
    features: object = (),
    targets: object = (),
    platform_args: Mapping[str, Any] | None = None,
    log_ms: bool = False,
) -> LoggerSpec:
    """Return a checked `LoggerSpec`; the arguments are those of `Conduit.add_logger`.

    Raises:
        InvalidSetting: An argument is of the wrong kind, or a key is written out.
    """
    name = platform.value if isinstance(platform, LoggingPlatform) else platform
    if not isinstance(name, str) or not name:
        raise InvalidSetting(
            f"The logging platform is {platform!r}, not a name.",
            hint=f"Names that come with Penstock: {', '.join(p.value for p in LoggingPlatform)}.",
        )
    secrets = dict(platform_authentication or {})
    if not all(isinstance(value, str) for value in secrets.values()):
        raise InvalidSetting(f"The authentication of the logger {name!r} must be texts by name.")
    spec = LoggerSpec(
        platform=name.lower(),
        features=_names("features", features),
        targets=_names("targets", targets),
        authentication=secrets,
        arguments=dict(platform_args or {}),
        log_ms=bool(log_ms),
    )
    spec.check_references()
    return spec


def _names(what: str, given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        raise InvalidSetting(f"{what} is {given!r:.80}; give a list of names.")
    if len(set(names)) < len(names):
        raise InvalidSetting(f"{what} has a name twice: {names!r:.200}.")
    return tuple(names)
