"""Signed addresses of uploaded files: who has one may fetch the file until it expires.

Called by `uploads`. The signature covers project, file, name and expiry, so that none of them can
be changed; it is made with a secret that never leaves the server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from urllib.parse import quote

from penstock.core.delivery_records import UploadRecord

#: Longest name that is kept, in bytes; the end of a longer one is kept, for its extension.
_NAME_BYTES = 200


#: Characters of a name that are looked at, from its end.
_LOOKED_AT = 4 * _NAME_BYTES


class FileLinks:
    """Makes and checks addresses of files.

    Args:
        url: Address that clients reach the server by, without a trailing slash.
        secret: Key of the signatures, 32 bytes.
    """

    def __init__(self, url: str, secret: bytes) -> None:
        self._url = url
        self._secret = secret

    def link(self, upload: UploadRecord) -> str:
        """Return the address of a file."""
        expires = int(upload.expires_at)
        signature = self._signature(upload.project, upload.file_id, upload.name, expires)
        return (
            f"{self._url}/v1/{upload.project}/files/{upload.file_id}/{quote(upload.name, safe='')}"
            f"?expires={expires}&signature={signature}"
        )

    def is_signed(
        self, project: str, file_id: str, name: str, expires: str, signature: str
    ) -> bool:
        """Whether an address was made here and nothing in it was changed."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 15):
            return False
        right = self._signature(project, file_id, name, int(expires))
        return hmac.compare_digest(right.encode(), signature.encode("utf-8", "replace"))

    def _signature(self, project: str, file_id: str, name: str, expires: int) -> str:
        # None of the first two has a line break in it, so no two addresses sign the same text.
        text = f"{project}\n{file_id}\n{expires}\n{name}".encode("utf-8", "surrogatepass")
        digest = hmac.new(self._secret, text, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def offered_name(name: str) -> str:
    """Return a file name that is safe in an address and in a header; `file` if nothing is left."""
    # Cut first: a worker may say anything at any length, and everybody waits meanwhile.
    last = name[-_LOOKED_AT:].replace("\\", "/").rpartition("/")[2]
    kept = "".join(
        character if unicodedata.category(character)[0] != "C" else "_" for character in last
    ).strip(" .")
    while len(kept.encode()) > _NAME_BYTES:
        kept = kept[1:]
    return kept or "file"
