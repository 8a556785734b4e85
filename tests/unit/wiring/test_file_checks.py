"""What the doctor says of files, while a server deletes some of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from penstock.core.findings import Level
from penstock.wiring.file_checks import examine_files


def put(root: Path, data: bytes) -> Path:
    name = hashlib.sha256(data).hexdigest()
    path = root / "blobs" / name[:2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_that_the_server_deletes_meanwhile_is_no_problem(tmp_path: Path) -> None:
    first, last = sorted(put(tmp_path, data) for data in (b"one", b"two"))
    seen = []

    def progress(done: int, _total: int) -> None:
        if not seen:
            last.unlink()
        seen.append(done)

    found = list(examine_files(tmp_path, None, None, progress))
    assert [finding.level for finding in found] == [Level.OK]
    first.write_bytes(b"three")
    found = list(examine_files(tmp_path, None, None, lambda *_: None))
    assert [finding.level for finding in found] == [Level.PROBLEM]
    assert "has changed on the disk" in found[0].message
