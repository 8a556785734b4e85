"""Examines the prediction loggers that versions keep in their settings. Used by `file_needs`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from penstock.core.findings import Finding, warning
from penstock.core.loggers import VARIABLE_PREFIX, is_reference


def examine_loggers(version: str, settings: str) -> Iterator[Finding]:
    """Yield a warning for each logger whose keys are written out.

    Early servers stored what they were given; now only names of variables reach the records.

    Args:
        version: The version, for people.
        settings: Its settings as the records hold them, JSON.
    """
    for logger in json.loads(settings).get("loggers", ()):
        given = logger.get("authentication", {})
        written = sorted(name for name, value in given.items() if not is_reference(value))
        if written:
            yield warning(
                "versions",
                f"{version} keeps the {' and '.join(written)} of its logger "
                f"{logger['platform']!r} readable in the records.",
                f"Deploy it again with references to {VARIABLE_PREFIX}… variables, delete this "
                "version, and have the platform give you another key.",
            )
