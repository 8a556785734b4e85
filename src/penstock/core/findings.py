"""What an examination of a server, its data or its machine found: the checks of `doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Level(str, Enum):
    """How bad a finding is. Only a `problem` means that something does not work or is lost."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How bad it is.
        subject: What was looked at, in a word or two.
        message: What was found, as a sentence.
        advice: What to do about it, as a sentence; empty when there is nothing to do.
    """

    level: Level
    subject: str
    message: str
    advice: str = ""


def ok(subject: str, message: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Level.OK, subject, message)


def warning(subject: str, message: str, advice: str = "") -> Finding:
    """Return a finding that works and could be better."""
    return Finding(Level.WARNING, subject, message, advice)


def problem(subject: str, message: str, advice: str) -> Finding:
    """Return a finding that needs somebody."""
    return Finding(Level.PROBLEM, subject, message, advice)


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether there is no problem among the findings."""
    return all(finding.level is not Level.PROBLEM for finding in findings)


def as_plain(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return findings as JSON has them: `{"ok": bool, "findings": [...]}`."""
    listed = list(findings)
    plain = [{**asdict(finding), "level": finding.level.value} for finding in listed]
    return {"ok": is_well(listed), "findings": plain}
