"""The server's own log lines on standard error: text for people, or one JSON object a line.

Called by `server_process` and `gateway_process`. Neither form shows secrets. JSON lines have `time`
(RFC 3339, UTC), `level`, `logger`, `message`, and `error` with the traceback where there is one.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

from penstock.core.redaction import HIDDEN, RedactingFormatter


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, timezone.utc)
        fields: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return HIDDEN.text(json.dumps(fields, ensure_ascii=False, default=str))


def log_to_standard_error(level: str, how: str) -> None:
    """Print our own lines from `level` on, and the libraries' warnings.

    Args:
        level: Least severe of our own lines: `debug`, `info`, `warning` or `error`.
        how: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(JsonLines() if how == "json" else RedactingFormatter(text))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("penstock").setLevel(level.upper())
