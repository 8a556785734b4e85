"""Runs a SavedModel without a server, in a Python that has TensorFlow and Penstock's copy.

`saved_model.py FOLDER` reads rows as JSON from its input and prints what the model answers, alone
and as two parallel branches whose mean is taken.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from penstock import Conduit, model_type, parallel


def main(folder: Path) -> None:
    rows = json.load(sys.stdin)
    stage = (model_type.TENSORFLOW, folder)
    alone = Conduit("here", None, [stage]).run(rows)
    both = Conduit("here", None, [parallel([stage, stage], "mean")]).run(rows)
    print(json.dumps({"alone": alone, "parallel": both}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
