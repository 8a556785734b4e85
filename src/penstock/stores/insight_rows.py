"""Rows of the insight file to records, and back; called by `sqlite_insight` only."""

from __future__ import annotations

from typing import Any

from penstock.core.insight_records import (
    CallRecord,
    LogFilter,
    LogLine,
    RunCursor,
    RunFilter,
    VersionTotal,
)
from penstock.core.run_records import ReplicaId
from penstock.core.states import RunState

#: The columns of a call that lists show, in the order `call` takes them.
SUMMARY = (
    "run_id, project, deployment, version, key_id, state, created_at, run_time_ms, media_type, "
    "size_bytes, points, server_timing, code, input_cut, result_cut, replica, replica_pid"
)

_FIELDS = (*SUMMARY.split(", "), "error", "input", "result")

INSERT_CALL = (
    f"INSERT OR REPLACE INTO calls ({SUMMARY}, error, input, result)"  # noqa: S608
    f" VALUES ({', '.join('?' * len(_FIELDS))})"
)

LINE = "seq, project, deployment, version, run_id, at, stage, function, level, text"

INSERT_LINE = (
    "INSERT INTO lines (project, deployment, version, run_id, at, stage, function, level, text)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def call_values(call: CallRecord) -> tuple[Any, ...]:
    """Return the columns of a call."""
    return (
        call.run_id,
        call.project,
        call.deployment,
        call.version,
        call.key_id,
        call.state.value,
        call.created_at,
        call.run_time_ms,
        call.media_type,
        call.size_bytes,
        call.points,
        call.server_timing,
        call.code,
        call.input_cut,
        call.result_cut,
        None if call.replica is None else call.replica.number,
        None if call.replica is None else call.replica.pid,
        call.error,
        call.input,
        call.result,
    )


def call(row: tuple[Any, ...]) -> CallRecord:
    """Return the call in a row of `SUMMARY` followed by error, input and result."""
    values = dict(zip(_FIELDS, row, strict=True))
    values["state"] = RunState(values["state"])
    for flag in ("input_cut", "result_cut"):
        values[flag] = bool(values[flag])
    number, pid = values.pop("replica"), values.pop("replica_pid")
    return CallRecord(**values, replica=None if number is None else ReplicaId(number, pid))


def line_values(line: LogLine) -> tuple[Any, ...]:
    """Return the columns of a log line."""
    return (
        line.project,
        line.deployment,
        line.version,
        line.run_id,
        line.at,
        line.stage,
        line.function,
        line.level,
        line.text,
    )


def line(row: tuple[Any, ...]) -> LogLine:
    """Return the log line in a row of `LINE`."""
    seq, project, deployment, version, run_id, at, stage, function, level, text = row
    return LogLine(project, deployment, version, at, text, run_id, stage, function, level, seq)


def total_values(total: VersionTotal) -> tuple[Any, ...]:
    """Return the columns of a version's total."""
    return (
        total.project,
        total.deployment,
        total.version,
        total.calls,
        total.errors,
        total.time_ms,
        total.last_at,
    )


#: Condition of the rows that `calls_failed` and `calls_slow` have, in the words of queries.
_NOT_GOOD = "state <> 'succeeded'"
_SLOW_MS = 100.0
_SLOW = "run_time_ms >= 100.0"

# Each index of a list holds all that lists filter by, so that no filter reads the rows it leaves
# out. What is rare has one of its own: else a filter that finds little reads a million entries.
_LISTED = "run_id, {other} state, version, run_time_ms, code"
INDEXES = f"""
CREATE INDEX IF NOT EXISTS calls_list ON calls
    (project, created_at, {_LISTED.format(other="deployment,")});
CREATE INDEX IF NOT EXISTS calls_of ON calls
    (project, deployment, created_at, {_LISTED.format(other="")});
CREATE INDEX IF NOT EXISTS calls_failed ON calls
    (project, created_at, {_LISTED.format(other="deployment,")}) WHERE {_NOT_GOOD};
CREATE INDEX IF NOT EXISTS calls_slow ON calls
    (project, created_at, {_LISTED.format(other="deployment,")}) WHERE {_SLOW};
"""


#: What a call failed for, of the kept error: null for one without an error.
_CAUSE = "code || json_extract(error, '$.stage', '$.function', '$.type')"

ALIKE = f"""
WITH this AS (SELECT project, deployment, {_CAUSE} AS cause FROM calls WHERE run_id = :run)
SELECT version, COUNT(*), MIN(created_at) FROM (
    SELECT calls.version, calls.created_at, {_CAUSE} AS cause
    FROM calls INDEXED BY calls_failed, this
    WHERE calls.project = this.project AND calls.deployment = this.deployment
        AND {_NOT_GOOD} AND created_at >= :since
    ORDER BY created_at DESC LIMIT :most
) WHERE cause = (SELECT cause FROM this) GROUP BY version ORDER BY version
"""  # noqa: S608


def index_for(wanted: RunFilter) -> str:
    """Return the index that a list of these calls reads the least entries of."""
    if _is_bad(wanted):
        return "calls_failed"
    if wanted.deployment is not None or (wanted.only is not None and len(wanted.only) == 1):
        return "calls_of"
    if _is_slow(wanted):
        return "calls_slow"
    return "calls_list"


def _is_bad(wanted: RunFilter) -> bool:
    """Whether none of the wanted calls can have succeeded."""
    return wanted.code is not None or (
        bool(wanted.states) and RunState.SUCCEEDED not in wanted.states
    )


def _is_slow(wanted: RunFilter) -> bool:
    return wanted.min_ms is not None and wanted.min_ms >= _SLOW_MS


def call_conditions(wanted: RunFilter, before: RunCursor | None) -> tuple[str, list[Any]]:
    """Return the condition for calls that are wanted, and its values."""
    parts: list[tuple[str, Any]] = [
        ("project = ?", wanted.project),
        ("deployment = ?", wanted.deployment),
        ("version = ?", wanted.version),
        ("created_at >= ?", wanted.since),
        ("created_at < ?", wanted.until),
        ("run_time_ms >= ?", wanted.min_ms),
        ("run_time_ms <= ?", wanted.max_ms),
        ("code = ?", wanted.code),
    ]
    where = [text for text, value in parts if value is not None]
    values = [value for _, value in parts if value is not None]
    _add_only(wanted.only, where, values)
    if _is_bad(wanted):  # a partial index is used by those who say what it has
        where.append(_NOT_GOOD)
    if _is_slow(wanted):
        where.append(_SLOW)
    if wanted.states:
        where.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values += [state.value for state in wanted.states]
    if before is not None:
        where.append("(created_at, run_id) < (?, ?)")
        values += before
    return " AND ".join(where), values


def line_conditions(
    wanted: LogFilter, after: int | None, before: int | None
) -> tuple[str, list[Any]]:
    """Return the condition for log lines that are wanted, and its values."""
    parts: list[tuple[str, Any]] = [
        ("project = ?", wanted.project),
        ("deployment = ?", wanted.deployment),
        ("version = ?", wanted.version),
        ("run_id = ?", wanted.run_id),
        ("level = ?", wanted.level),
        ("instr(lower(text), lower(?))", wanted.text),
        ("seq > ?", after),
        ("seq < ?", before),
    ]
    where = [text for text, value in parts if value is not None]
    values = [value for _, value in parts if value is not None]
    _add_only(wanted.only, where, values)
    return " AND ".join(where), values


def _add_only(only: tuple[str, ...] | None, where: list[str], values: list[Any]) -> None:
    """Add the condition that a row is of one of these deployments."""
    if only is not None:
        where.append(f"deployment IN ({', '.join('?' * len(only))})")
        values += only
