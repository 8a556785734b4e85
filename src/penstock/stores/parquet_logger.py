"""The local prediction log: Parquet files by deployment and day.

A file is written whole under a hidden name, synced and renamed. Each `write` makes a small file;
when a day has many, they are joined into one, as far as they can be read. Columns are documented in
`docs/reference/prediction-log.md`.
Called in the process that writes predictions only. Format: Apache Parquet, through pyarrow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

from penstock.core.faults import fault
from penstock.stores.file_writer import sync_folder
from penstock.stores.loggers import PredictionRow

log = logging.getLogger("penstock.predictions")

#: Small files of a day that are joined when there are so many, and what counts as small.
JOIN_AT = 16
SMALL_BYTES = 8 * 1024 * 1024


class ParquetLogger:
    """Writes rows below a folder.

    Args:
        folder: Folder of the prediction log; each project has a folder there.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        self._pa = pa
        self._folder = folder
        self._schema = _schema(pa)
        self._numbers = count(1)
        #: Files that are joined no more, and folders whose trouble with joining was told.
        self._left: set[Path] = set()
        self._told: set[Path] = set()

    def write(self, rows: Sequence[PredictionRow]) -> None:
        """Write rows into the files of their days."""
        days: dict[Path, list[PredictionRow]] = {}
        for row in rows:
            day = datetime.fromtimestamp(row.time, timezone.utc).strftime("%Y-%m-%d")
            place = self._folder / row.project / row.deployment / day
            days.setdefault(place, []).append(row)
        for place, mine in days.items():
            self._write_file(place, self._table(mine), mine[0].time)
            self._join_small(place)

    def close(self) -> None:
        """Do nothing: every `write` leaves complete files."""

    def _table(self, rows: Sequence[PredictionRow]) -> Any:
        columns = {name: [getattr(row, name) for row in rows] for name in self._schema.names}
        columns["time"] = [int(seconds * 1e6) for seconds in columns["time"]]
        for name in ("features", "features_text", "outputs", "outputs_text"):
            columns[name] = [list(values.items()) for values in columns[name]]
        arrays = [self._pa.array(columns[each.name], each.type) for each in self._schema]
        return self._pa.Table.from_arrays(arrays, schema=self._schema)

    def _write_file(self, place: Path, table: Any, at: float) -> None:
        _make_folder(place)
        clock = datetime.fromtimestamp(at, timezone.utc).strftime("%H%M%S-%f")
        name = f"{clock}-{os.getpid()}-{next(self._numbers)}.parquet"
        unfinished, finished = place / f".{name}", place / name
        try:
            _write_synced(unfinished, table)
            unfinished.replace(finished)
            sync_folder(place)
        except BaseException:  # the rows are given again: neither file may have them then
            unfinished.unlink(missing_ok=True)
            finished.unlink(missing_ok=True)
            raise

    def _join_small(self, place: Path) -> None:
        """Join a day's small files. Whatever goes wrong, the rows are written already."""
        try:
            self._join(place)
        except Exception as error:  # noqa: BLE001 - another try would write the same rows again
            self._tell(place, error)

    def _join(self, place: Path) -> None:
        """Join the oldest. Readers may see a row twice for a moment, never not at all."""
        small = [path for path in files_of_day(place) if path not in self._left and _is_small(path)]
        if len(small) < JOIN_AT:
            return
        tables = {path: self._read(path) for path in small[:JOIN_AT]}
        read = {path: table for path, table in tables.items() if table is not None}
        if len(read) < 2:
            return
        joined = self._pa.concat_tables(read.values())
        first = joined.column("time")[0].cast(self._pa.int64()).as_py() / 1e6
        self._write_file(place, joined, first)
        for path in read:
            self._remove(path)

    def _read(self, path: Path) -> Any:
        """Return a file's table; None for a file that cannot be read or has other columns."""
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, partitioning=None)
            if table.schema.equals(self._schema):
                return table
            raise ValueError(f"{path} has other columns than the prediction log.")
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the library raise
            self._leave(path, error)
            return None

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._leave(path, error)  # joined again and again, its rows would multiply

    def _leave(self, path: Path, error: Exception) -> None:
        """Leave a file where it is from now on."""
        self._left.add(path)
        self._tell(path.parent, error)

    def _tell(self, place: Path, error: Exception) -> None:
        """Say once of each folder that not all of it is joined."""
        if place not in self._told:
            self._told.add(place)
            why = f"{type(error).__name__}: {error}"
            log.warning("Not all small files in %s are joined: %s", place, why[:500])


def _write_synced(path: Path, table: Any) -> None:
    """Write a file that is on the disk when this returns."""
    import pyarrow.parquet as pq

    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        fault("predictions.syncing")
        os.fsync(file.fileno())


def _make_folder(place: Path) -> None:
    """Make a folder and those above it, as far as they are missing, each durable."""
    if not place.exists():
        _make_folder(place.parent)
        place.mkdir(mode=0o700, exist_ok=True)
        sync_folder(place.parent)


def _is_small(path: Path) -> bool:
    return path.stat().st_size < SMALL_BYTES


def files_of_day(place: Path) -> list[Path]:
    """Return the complete files of a day's folder, oldest first."""
    return sorted(path for path in place.glob("*.parquet") if not path.name.startswith("."))


def _schema(pa: Any) -> Any:
    numbers, texts = pa.map_(pa.string(), pa.float64()), pa.map_(pa.string(), pa.string())
    types: dict[str, Any] = dict.fromkeys([f.name for f in fields(PredictionRow)], pa.string())
    types |= {"index": pa.int32(), "version": pa.int32(), "files": pa.int32()}
    types |= {"time": pa.timestamp("us", tz="UTC"), "run_time_ms": pa.float64()}
    types |= {"features": numbers, "outputs": numbers}
    types |= {"features_text": texts, "outputs_text": texts}
    optional = {"input", "result"}
    return pa.schema([pa.field(n, t, nullable=n in optional) for n, t in types.items()])


def remove_old_days(folder: Path, keep_days: int, now: float | None = None) -> int:
    """Remove the folders of days that are more than `keep_days` ago; return how many.

    Args:
        folder: Folder of the prediction log.
        keep_days: Days to keep; 0 keeps all.
        now: Seconds since the epoch; the present by default.
    """
    if keep_days <= 0:
        return 0
    today = datetime.fromtimestamp(time.time() if now is None else now, timezone.utc).date()
    oldest = (today - timedelta(days=keep_days)).isoformat()
    old = [day for day in _days(folder) if day.name < oldest]
    for day in old:
        shutil.rmtree(day, ignore_errors=True)
        with contextlib.suppress(OSError):  # the deployment's folder, if nothing is left in it
            day.parent.rmdir()
    return len(old)


def _days(folder: Path) -> Iterable[Path]:
    return (day for day in folder.glob("*/*/????-??-??") if day.is_dir())
