"""The server's own log lines."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from penstock.core.redaction import HIDDEN
from penstock.wiring.log_format import JsonLines


def failed(secret: str) -> logging.LogRecord:
    try:
        raise ValueError(f"{secret} was refused")
    except ValueError:
        return logging.LogRecord("penstock.x", 40, __file__, 1, "no: %s", (secret,), sys.exc_info())


@pytest.mark.parametrize("secret", ["a-secret-of-a-line", 'with "quotes" in it', "ünïcode-secret"])
def test_json_lines_show_no_secret_and_stay_json(secret: str) -> None:
    HIDDEN.add([secret])
    line = JsonLines().format(failed(secret))
    fields = json.loads(line)
    assert fields["message"] == "no: ***"
    assert "*** was refused" in fields["error"]
    assert secret not in line
