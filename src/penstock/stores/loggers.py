"""Where predictions go: the protocol of a logger, the rows it gets, and which platforms there are.

The process that writes predictions (`penstock.wiring.logger_process`) makes loggers here. A package
adds a platform with an entry point of the group `penstock.loggers`: a callable that takes a
`LoggerSpec` and the folder of the prediction log and returns a `PredictionLogger`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from penstock.core.errors import InvalidSetting
from penstock.core.loggers import LoggerSpec, LoggingPlatform

#: Entry points of this group are loggers of other packages.
GROUP = "penstock.loggers"

#: What each platform of ours needs installed on the server, and the extra that brings it.
_NEEDS = {
    LoggingPlatform.PARQUET.value: (("pyarrow",), "parquet"),
    LoggingPlatform.ARIZE.value: (("arize", "pandas"), "arize"),
}


@dataclass(frozen=True)
class PredictionRow:
    """One prediction. `docs/reference/prediction-log.md` says what each value is.

    `time` is in seconds since the epoch (UTC).
    """

    prediction_id: str
    run_id: str
    index: int
    time: float
    project: str
    deployment: str
    version: int
    run_time_ms: float
    input: str | None
    result: str | None
    features: dict[str, float | None]
    features_text: dict[str, str]
    outputs: dict[str, float | None]
    outputs_text: dict[str, str]
    files: int


class PredictionLogger(Protocol):
    """Takes predictions somewhere. One thread of its own calls it; it may take its time."""

    def write(self, rows: Sequence[PredictionRow]) -> None:
        """Take rows, of one version.

        Raises:
            Exception: They did not get there; the same rows are given again a little later, four
                times, then dropped with a line in the server's log.
        """

    def close(self) -> None:
        """Write what is left; nothing comes after."""


MakeLogger = Callable[[LoggerSpec, Path], PredictionLogger]


def check_platform(platform: str) -> None:
    """Raise `InvalidSetting` if this server does not have a platform, or not what it needs."""
    if platform in _NEEDS:
        needed, extra = _NEEDS[platform]
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise InvalidSetting(
                f"The logger {platform!r} needs {' and '.join(missing)}, which the server "
                "does not have.",
                hint=f'Run: pip install "penstock[{extra}]" in the server\'s environment.',
            )
    elif platform not in _added():
        known = ", ".join(repr(name) for name in [*_NEEDS, *_added()])
        raise InvalidSetting(
            f"There is no logging platform {platform!r} on this server; it has {known}.",
            hint=f"Install a package with an entry point of the group {GROUP!r}.",
        )


def check_logger(spec: LoggerSpec) -> None:
    """Raise `InvalidSetting` if a platform, which the server has, cannot take what a spec says."""
    if spec.platform == LoggingPlatform.ARIZE.value:
        from penstock.stores.arize_logger import check_arize

        check_arize(spec)


def make_logger(spec: LoggerSpec, folder: Path) -> PredictionLogger:
    """Return the logger of a spec that was checked.

    Args:
        spec: Where to log; its references are resolved.
        folder: Folder of the prediction log.
    """
    if spec.platform == LoggingPlatform.PARQUET.value:
        from penstock.stores.parquet_logger import ParquetLogger

        return ParquetLogger(folder)
    if spec.platform == LoggingPlatform.ARIZE.value:
        from penstock.stores.arize_logger import ArizeLogger

        return ArizeLogger(spec)
    make: MakeLogger = _added()[spec.platform].load()
    return make(spec, folder)


def _added() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}
