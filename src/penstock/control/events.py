"""What is reported while a version is deployed.

`penstock.control.deploys` reports these, one after another; the HTTP route writes each as one line
of JSON and the client prints them. The last one is `ReadyEvent` or `FailedEvent`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.control.status import VersionView


class StepEvent(msgspec.Struct, frozen=True, tag_field="event", tag="step"):
    """A step of the deploy begins. `name` is for programs, `message` for people."""

    name: str
    message: str


class LogEvent(msgspec.Struct, frozen=True, tag_field="event", tag="log"):
    """One line that the candidate's worker printed."""

    line: str


class ReadyEvent(msgspec.Struct, frozen=True, tag_field="event", tag="ready"):
    """The version is ready; `version.active` tells whether it serves. `endpoint` is its URL."""

    version: VersionView
    endpoint: str


class FailedEvent(msgspec.Struct, frozen=True, tag_field="event", tag="failed"):
    """The version is not ready. `error` is an error object; `logs` the worker's last lines."""

    error: dict[str, Any]
    logs: list[str] = []


DeployEvent = StepEvent | LogEvent | ReadyEvent | FailedEvent

Report = Callable[[DeployEvent], None]
