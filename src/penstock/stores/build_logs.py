"""Logs of deploys in a folder: `<root>/<project>/<deployment>/<number>.json`.

Called from worker threads by `penstock.control.builds`. A log is written whole or not at all.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from penstock.stores.failures import disk_failure


class BuildLogFiles:
    """Finished logs as files. Names were checked when the deployment was made.

    Args:
        root: The folder; made when the first log is kept.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, project: str, deployment: str, number: int, content: bytes) -> None:
        """Keep one log. Raises `StoreError` if the disk fails."""
        folder = self._root / project / deployment
        unfinished = folder / f"{number}.new"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.write_bytes(content)
            unfinished.replace(folder / f"{number}.json")
        except OSError as error:
            raise disk_failure(error, "Writing the log of a deploy") from None

    def read(self, project: str, deployment: str, number: int) -> bytes | None:
        """Return one log, or None."""
        try:
            return (self._root / project / deployment / f"{number}.json").read_bytes()
        except OSError:
            return None

    def forget(self, project: str, deployment: str) -> None:
        """Forget the logs of a deployment."""
        shutil.rmtree(self._root / project / deployment, ignore_errors=True)
