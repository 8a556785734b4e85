"""`UploadStore` on any SQL database through SQLAlchemy Core; made by the record store.

See `penstock.stores.webhooks_base` for what each method promises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict

import sqlalchemy as sa

from penstock.core.delivery_records import UploadRecord
from penstock.core.errors import FileQuotaExceeded
from penstock.stores.schema import uploads

_all = uploads.c


class SqlUploads:
    """The list of uploaded files, in the records' database.

    Args:
        transaction: Begins a transaction of the records.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._transaction = transaction

    def add(self, upload: UploadRecord, quota_bytes: int) -> None:
        """Remember a file. Raises `FileQuotaExceeded`."""
        with self._transaction() as connection:
            used = _used(connection, upload.project, upload.created_at)
            if used + upload.size > quota_bytes:
                raise FileQuotaExceeded(
                    f"The files of project {upload.project!r} have {used} bytes; {upload.name!r} "
                    f"with {upload.size} bytes does not fit into the {quota_bytes} bytes they may "
                    "have.",
                    hint="Delete some at /v1/<project>/files, give them a shorter ttl, or raise "
                    "the server's setting files_total_bytes.",
                )
            connection.execute(uploads.insert().values(**asdict(upload)))

    def used_bytes(self, project: str, now: float) -> int:
        """Return the size of a project's files that are not expired."""
        with self._transaction() as connection:
            return _used(connection, project, now)

    def get(self, project: str, file_id: str) -> UploadRecord | None:
        """Return a file, expired or not, or None."""
        query = sa.select(uploads).where(_all.file_id == file_id, _all.project == project)
        with self._transaction() as connection:
            row = connection.execute(query).first()
            return None if row is None else UploadRecord(*row)

    def list(self, project: str, now: float) -> Sequence[UploadRecord]:
        """Return a project's files that are not expired, newest first."""
        query = (
            sa.select(uploads)
            .where(_all.project == project, _all.expires_at > now)
            .order_by(_all.created_at.desc(), _all.file_id)
        )
        with self._transaction() as connection:
            return [UploadRecord(*row) for row in connection.execute(query)]

    def delete(self, project: str, file_id: str) -> bool:
        """Forget a file; False if there was none."""
        this = uploads.delete().where(_all.file_id == file_id, _all.project == project)
        with self._transaction() as connection:
            return connection.execute(this).rowcount > 0

    def purge(self, now: float) -> int:
        """Forget what has expired; return how many files."""
        with self._transaction() as connection:
            return connection.execute(uploads.delete().where(_all.expires_at <= now)).rowcount

    def hashes(self) -> Sequence[str]:
        """Return the SHA-256 of every file that is remembered."""
        with self._transaction() as connection:
            return list(connection.execute(sa.select(_all.sha256).distinct()).scalars())


def _used(connection: sa.Connection, project: str, now: float) -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(_all.size), 0)).where(
        _all.project == project, _all.expires_at > now
    )
    return int(connection.execute(query).scalar_one())
