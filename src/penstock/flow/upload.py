"""`upload`, as processing functions use it: hand out a file by an address instead of by value.

The worker passes the open file to the server, which copies, names and serves it. Nothing is stored
when the functions run locally: then there is nobody to serve it, and the file is at hand.
"""

from __future__ import annotations

import os
import stat

from penstock.codec.memory import Upload
from penstock.core.errors import InvalidSetting, UploadFailed
from penstock.flow.context import CURRENT


def upload(path: str | os.PathLike[str], *, ttl: float | None = None) -> str:
    """Store a file on the server and return a URL that serves it for a while, without a key.

    Outside a server (`Conduit.run`, a notebook) the path is returned as it was given.

    Args:
        path: A file; a relative path is looked for in the run's working directory.
        ttl: Seconds until the URL expires; the server's usual time if None, and at most its
            longest.

    Returns:
        The URL. Whoever has it can fetch the file until it expires.

    Raises:
        UploadFailed: There is no such file, it is not a regular one, or it cannot be read.
        FileQuotaExceeded: It is too large, or the project's files take all the space they may.
        InvalidSetting: The ttl is not a number greater than 0.
    """
    if ttl is not None and not (0 < ttl < float("inf")):
        raise InvalidSetting(f"upload({path!r}, ttl={ttl!r}): give seconds greater than 0.")
    named = os.fspath(path)
    fd = _open(named)
    try:
        run = CURRENT.get()
        if run is None:
            return named
        url = run.space.upload(Upload(os.path.basename(named), ttl, fd))
    finally:
        os.close(fd)
    return named if url is None else url


def _open(named: str) -> int:
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        fd = os.open(named, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UploadFailed(
            f"upload({named!r}): there is no such file in {os.getcwd()}.",
            hint="Write the file before uploading it, and give its path as it was written.",
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UploadFailed(f"upload({named!r}): it cannot be read: {reason}.") from None
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind):
        return fd
    os.close(fd)
    if stat.S_ISDIR(kind):
        raise UploadFailed(
            f"upload({named!r}): it is a directory.",
            hint="Make one file of it, for example with shutil.make_archive.",
        )
    raise UploadFailed(f"upload({named!r}): it is not a regular file.")


# Functions that use it are pickled with the public path, which every release keeps.
upload.__module__ = "penstock"
