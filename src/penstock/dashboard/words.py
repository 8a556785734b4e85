"""Numbers, sizes and times as the pages write them. Used as filters of the templates.

"–" stands for what was not measured. Thousands are parted by a narrow space, units stay in table
heads unless a function says otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

NONE = "–"
_NARROW = "\N{NARROW NO-BREAK SPACE}"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def count(number: float | None) -> str:
    """Return a whole number: 1 344."""
    return NONE if number is None else f"{number:,.0f}".replace(",", _NARROW)


def rate(number: float | None) -> str:
    """Return calls per second: one decimal, two under 1."""
    if number is None:
        return NONE
    return fixed(number, 2 if 0 < number < 1 else 1)


def fixed(number: float | None, decimals: int = 1) -> str:
    """Return a number with so many decimals."""
    return NONE if number is None else f"{number:,.{decimals}f}".replace(",", _NARROW)


def total_ms(ms: float | None) -> str:
    """Return milliseconds of many calls for a headline: none behind the point from 100."""
    if ms is None:
        return NONE
    if ms >= 10_000:
        return f"{ms / 1000:.1f}"
    return fixed(ms, 0 if ms >= 30 else 1)


def ms_unit(ms: float | None) -> str:
    """Return the unit that `total_ms` has written `ms` in."""
    return "s" if ms is not None and ms >= 10_000 else "ms"


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 in percent with two decimals, without the sign."""
    return NONE if share is None else f"{share * 100:.2f}"


def whole_percent(share: float | None) -> str:
    """Return a share from 0 to 1 in whole percent, without the sign."""
    return NONE if share is None else f"{share * 100:.0f}"


def size(number: float | None) -> str:
    """Return a number of bytes with its unit: 44.8 MiB."""
    if number is None:
        return NONE
    if number < 1024:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} GiB"


def mib(number: float | None, decimals: int = 1) -> str:
    """Return a number of bytes in MiB, without the unit."""
    return NONE if number is None else fixed(number / 1024 / 1024, decimals)


def age(at: float | None, now: float | None = None) -> str:
    """Return how long ago something was: 6 s, 18 min, 2 h, 3 d."""
    if at is None:
        return NONE
    return span((time.time() if now is None else now) - at)


def span(seconds: float | None) -> str:
    """Return a length of time: 6 s, 18 min, 2 h, 3 d."""
    if seconds is None:
        return NONE
    for least, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= least:
            return f"{seconds // least:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def clock(at: float, decimals: int = 0) -> str:
    """Return the time of day: 14:31:07."""
    text = time.strftime("%H:%M:%S", time.localtime(at))
    return text + (f"{at % 1:.{decimals}f}"[1:] if decimals else "")


def day(at: float) -> str:
    """Return day and time: 22 Nov 13:55, today 13:55, or with the year when it is another one."""
    then, now = time.localtime(at), time.localtime()
    hour = time.strftime("%H:%M", then)
    if then[:3] == now[:3]:
        return f"today {hour}"
    return f"{then.tm_mday} {_MONTHS[then.tm_mon - 1]} {_year(then, now)}{hour}"


def date(at: float) -> str:
    """Return day and time for a table: 22 Nov 13:55."""
    then = time.localtime(at)
    hour = time.strftime("%H:%M", then)
    return f"{then.tm_mday} {_MONTHS[then.tm_mon - 1]} {_year(then, time.localtime())}{hour}"


def _year(then: time.struct_time, now: time.struct_time) -> str:
    return "" if then.tm_year == now.tm_year else f"{then.tm_year} "


def moment(at: float | None, show: Callable[[float], str] = date) -> Markup:
    """Return a `<time>` element, which tells the full moment when pointed at."""
    if at is None:
        return Markup(NONE)  # noqa: S704 - a constant
    full = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(full, full, show(at))


def plural(number: int, one: str, more: str = "") -> str:
    """Return a number and its noun: 1 version, 7 versions."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def short_id(run_id: str) -> str:
    """Return the first signs of a run's id."""
    return run_id[:8] + "…" if len(run_id) > 9 else run_id


FILTERS: dict[str, Callable[..., Any]] = {
    "count": count,
    "rate": rate,
    "fixed": fixed,
    "total_ms": total_ms,
    "ms_unit": ms_unit,
    "percent": percent,
    "whole_percent": whole_percent,
    "size": size,
    "mib": mib,
    "age": age,
    "span": span,
    "clock": clock,
    "day": day,
    "date": date,
    "plural": plural,
    "short_id": short_id,
}
FILTERS["moment"] = moment
FILTERS["moment_day"] = lambda at: moment(at, day)
FILTERS["moment_age"] = lambda at: moment(at, age)
FILTERS["moment_ms"] = lambda at: moment(at, lambda t: f"{day(t)[:-5]}{clock(t, 3)}".strip())
