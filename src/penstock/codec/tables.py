"""Data frames as the data of a request: rows, as every other client would write them.

Used by `request`. A frame is known by its class's name, so neither pandas nor Polars is imported.
"""

from __future__ import annotations

from typing import Any

from penstock.core.errors import MalformedBody


def rows_of(data: Any) -> Any:
    """Return a data frame as its rows and a series as its values; anything else as it is.

    Rows are dicts by column name, with None for what is missing. Where pandas has numbered the
    columns itself they have no names, so rows are lists.

    Raises:
        MalformedBody: Two columns have one name.
    """
    kind = type(data)
    library = kind.__module__.partition(".")[0]
    if library == "pandas" and kind.__name__ == "DataFrame":
        return _pandas_rows(data)
    if library == "pandas" and kind.__name__ == "Series":
        return _without_missing(data).tolist()
    if library == "polars" and kind.__name__ == "DataFrame":
        return data.to_dicts()
    if library == "polars" and kind.__name__ == "Series":
        return data.to_list()
    return data


def _pandas_rows(frame: Any) -> Any:
    columns = [str(name) for name in frame.columns]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise MalformedBody(
            f"data is a data frame with two columns of the name {twice!r}.",
            hint="Rename one of them, or leave it out.",
        )
    held = _without_missing(frame)
    if type(frame.columns).__name__ == "RangeIndex":
        return held.to_numpy(dtype=object).tolist()
    return held.to_dict("records")


def _without_missing(held: Any) -> Any:
    """Return a frame or series with None where there was NaN, NaT or NA."""
    return held.astype(object).where(held.notna(), None)
