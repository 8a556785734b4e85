"""Sends rows with Penstock's Arize logger, in a Python that has Arize's own library.

`arize_rows.py URI` reads `{"spec": …, "rows": […]}` from its input and writes the rows.
"""

from __future__ import annotations

import json
import sys

from penstock.core.loggers import LoggerSpec
from penstock.stores.arize_logger import ArizeLogger
from penstock.stores.loggers import PredictionRow


def main(uri: str) -> None:
    told = json.load(sys.stdin)
    spec = LoggerSpec("arize", **told["spec"])
    spec.arguments["uri"] = uri
    ArizeLogger(spec).write([PredictionRow(**row) for row in told["rows"]])


if __name__ == "__main__":
    main(sys.argv[1])
