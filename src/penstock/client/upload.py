"""Sends the blobs of a bundle that the server does not have yet.

Called by `client.api` between preparing a bundle and creating the version. A blob is read from its
file in pieces, so a model larger than memory can be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.client.progress import Advance, Reporter
from penstock.client.session import Session
from penstock.codec.bundle import Blob, Manifest
from penstock.core.errors import MissingModelFile

#: Bytes read and sent at a time.
PIECE = 1 << 20


@dataclass(frozen=True)
class Uploaded:
    """How much was sent and how much was there already: numbers of files and bytes."""

    files: int
    size: int
    known_files: int
    known_size: int


def upload(
    session: Session,
    project: str,
    manifest: Manifest,
    blobs: Mapping[str, bytes | Path],
    reporter: Reporter,
) -> Uploaded:
    """Send every blob of `manifest` that the server asks for.

    Args:
        session: The server.
        project: The project that will own the blobs.
        manifest: Says which blobs there are and how large.
        blobs: Their contents, or the files that hold them, by SHA-256.
        reporter: Shows the bar.

    Raises:
        BlobCorrupt: A file changed after it was read first.
        ServerUnreachable: The connection broke three times.
    """
    wanted = manifest.blobs()
    answer = session.post(f"/v1/{project}/blobs/missing", {"sha256": list(wanted)})
    missing = [wanted[sha256] for sha256 in answer["missing"] if sha256 in wanted]
    total = sum(blob.size for blob in missing)
    with reporter.transfer(total) as advance:
        for blob in missing:
            send = _Sender(blobs[blob.sha256], blob, advance)
            session.put(f"/v1/{project}/blobs/{blob.sha256}", send.pieces, blob.size)
    known = sum(blob.size for blob in wanted.values()) - total
    return Uploaded(len(missing), total, len(wanted) - len(missing), known)


class _Sender:
    """Reads one blob in pieces, from its start at each try, and counts a byte sent twice once."""

    def __init__(self, content: bytes | Path, blob: Blob, advance: Advance) -> None:
        self._content = content
        self._blob = blob
        self._advance = advance
        self._counted = 0

    def pieces(self) -> Iterator[bytes]:
        sent = 0
        for piece in self._read():
            if sent + len(piece) > self._blob.size:
                raise self._changed("it grew")
            yield piece
            sent += len(piece)
            if sent > self._counted:
                self._advance(sent - self._counted)
                self._counted = sent
        if sent < self._blob.size:
            raise self._changed("it shrank")

    def _read(self) -> Iterator[bytes]:
        if not isinstance(self._content, Path):
            for start in range(0, len(self._content), PIECE):
                yield self._content[start : start + PIECE]
            return
        try:
            with self._content.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
        except OSError as error:
            raise self._changed(str(error.strerror)) from None

    def _changed(self, how: str) -> MissingModelFile:
        return MissingModelFile(
            f"{self._blob.name!r} changed while it was sent: {how}.",
            hint="Deploy again once nothing writes to it.",
        )
