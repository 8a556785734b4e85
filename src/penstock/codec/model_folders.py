"""Models that are folders: their files, the rules for their paths, and laying them out.

A folder travels as its files, each a blob of its own, with their paths in the manifest. There is no
archive: nothing is unpacked, nothing can grow while it is unpacked, and a file that two versions
share is sent and kept once. `files_of` reads a folder on the user's machine, `check_paths` refuses
paths that leave the folder, and `lay_out` rebuilds it in a worker.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from penstock.core.errors import InvalidManifest, MissingModelFile

#: Most files of one folder.
MOST_FILES = 10_000

#: Files up to this size are copied.
_COPIED_BYTES = 4 * 1024 * 1024

_LONGEST_PATH = 1024
_LONGEST_PART = 255

#: Left out: what tools keep beside a model, never read when it is loaded.
_SKIPPED = frozenset({".git", ".cache", "__pycache__", ".ipynb_checkpoints", ".DS_Store"})


def files_of(folder: Path) -> dict[str, Path]:
    """Return the files below `folder` by their path in it, sorted, with forward slashes.

    Links to files and folders are followed, as downloads of models are often made of them; empty
    folders, and folders of tools such as `.git`, are left out.

    Raises:
        MissingModelFile: There is no file, too many, something that is no file, a link that leads
            nowhere or back to a folder above it, or a name that cannot travel.
    """
    found: dict[str, Path] = {}
    for relative, path in _walk(folder, "", (os.path.realpath(folder),)):
        found[relative] = path
        if len(found) > MOST_FILES:
            raise MissingModelFile(
                f"The folder {str(folder)!r} has more than {MOST_FILES} files.",
                hint="Give the folder of the one model, not one above it.",
            )
    if not found:
        raise MissingModelFile(f"The folder {str(folder)!r} has no files.")
    try:
        check_paths(list(found))
    except InvalidManifest as error:
        raise MissingModelFile(str(error), hint="Rename the file.") from None
    return dict(sorted(found.items()))


def _walk(folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()):
        if entry.name in _SKIPPED:
            continue
        relative = prefix + entry.name
        if entry.is_dir():
            real = os.path.realpath(entry)
            if real in above:
                raise MissingModelFile(f"{str(entry)!r} is a link to a folder that it is in.")
            yield from _walk(entry, f"{relative}/", (*above, real))
        elif entry.is_file():
            yield relative, entry
        else:
            raise MissingModelFile(
                f"{str(entry)!r} is neither a file nor a folder, or a link that leads nowhere."
            )


def check_paths(paths: Sequence[str]) -> None:
    """Check the paths of a folder's files before any of them is used.

    Raises:
        InvalidManifest: A path is absolute, leaves the folder, is there twice, is a file and a
            folder at once, has parts that no file name may have, or there are too many.
    """
    if len(paths) > MOST_FILES:
        raise InvalidManifest(f"A model folder has {len(paths)} files; at most {MOST_FILES}.")
    for path in paths:
        if not _is_safe(path):
            raise InvalidManifest(
                f"{path[:200]!r} is not the path of a file inside a model folder."
            )
    folders = {parent for path in paths for parent in _parents(path)}
    if len(set(paths)) != len(paths) or not folders.isdisjoint(paths):
        raise InvalidManifest("A model folder names one path twice.")


def _is_safe(path: str) -> bool:
    if not path or len(path) > _LONGEST_PATH or "\\" in path or not path.isprintable():
        return False
    parts = path.split("/")
    return all(
        part not in {"", ".", ".."} and len(part.encode("utf-8")) <= _LONGEST_PART for part in parts
    )


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    return ("/".join(parts[: n + 1]) for n in range(len(parts)))


def listing_digest(files: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 that names a folder, from the `(path, SHA-256)` of its files.

    It is that of a line `<sha256>  <path>` for each file, sorted by path, as `sha256sum` writes
    them.
    """
    lines = "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(files))
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()


def lay_out(files: Mapping[str, Path], parent: Path, name: str) -> Path:
    """Rebuild a folder below `parent` and return it.

    Small files are copied, large ones are hard links, so that weights take no time and no space.
    Symbolic links are the last resort: some libraries refuse files that lie outside the folder.

    Args:
        files: Where the bytes of each path of the folder are.
        parent: A folder of this process; made if need be.
        name: The folder's name on the user's machine, which some frameworks show.

    Raises:
        InvalidManifest: A path leaves the folder; nothing is made then.
    """
    check_paths(list(files))
    parent.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="model-", dir=parent)) / _plain_name(name)
    for relative, source in files.items():
        target = root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        _put(source, target)
    return root


def _put(source: Path, target: Path) -> None:
    if source.stat().st_size <= _COPIED_BYTES:
        shutil.copyfile(source, target)
        return
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or another owner
        target.symlink_to(source.absolute())


def _plain_name(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip(".")
    return kept[:_LONGEST_PART] or "model"
