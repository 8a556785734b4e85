"""Requirements as people write them: lines of pip's form, and files of such lines.

The client reads files and checks lines before anything is sent; the server checks them again,
because another client may have sent them. What a version number means is left to the resolver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from penstock.core.errors import InvalidRequirement
from penstock.environments.distributions import canonical

#: Most requirements of one deployment, and the longest of them.
MOST = 500
LONGEST = 20_000

_NAME = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?P<rest>.*)", re.DOTALL
)
_REST = re.compile(r"(\[[^\]]*\]\s*)?(\(|[<>=!~;@]|--hash=|$)")
_COMMENT = re.compile(r"(^|\s)#.*$")
_FILE_OPTION = re.compile(r"(-r|--requirement)[\s=]*(?P<file>.+)")
_INDEX_OPTIONS = (
    "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host",
)  # fmt: skip


def name_of(requirement: str) -> str:
    """Return the canonical name of the distribution that `requirement` names."""
    match = _NAME.match(requirement)
    return canonical(match["name"]) if match else ""


def names_of(requirements: Iterable[str]) -> frozenset[str]:
    """Return the canonical names of all `requirements`."""
    return frozenset(map(name_of, requirements))


def check(requirements: Sequence[str]) -> list[str]:
    """Return the requirements without blanks around them.

    Raises:
        InvalidRequirement: One is no name with a version, names a local file, or is an option;
            there are too many, or one is too long.
    """
    if isinstance(requirements, str):
        raise InvalidRequirement(
            f"requirements is the text {requirements[:60]!r}.",
            hint='Give a list: requirements=["pandas", "pillow>=11"].',
        )
    if len(requirements) > MOST:
        raise InvalidRequirement(
            f"There are {len(requirements)} requirements; at most {MOST} are taken."
        )
    return [_checked(requirement) for requirement in requirements]


def _checked(requirement: object) -> str:
    if not isinstance(requirement, str):
        kind = type(requirement).__name__
        raise InvalidRequirement(f"A requirement is a {kind}; it must be a text.")
    text = requirement.replace("\t", " ").strip()
    shown = repr(text[:80])
    # Resolvers end a line at more characters than Python does, and the next line may be an option.
    if not text or not text.isprintable() or len(text) > LONGEST:
        raise InvalidRequirement(f"{shown} is no requirement: it must be one line of text.")
    if "${" in text:
        raise InvalidRequirement(
            f"{shown} takes something from the environment, which on the server is the server's.",
            hint="Write the requirement out.",
        )
    if text.startswith("-"):
        raise _option_refused(text, shown)
    match = _NAME.match(text)
    if text.startswith((".", "/", "~", "file:")) or (match and _is_path(match["rest"])):
        raise InvalidRequirement(
            f"{shown} is a path; files of this machine are not on the server.",
            hint="Modules that the functions import travel by themselves. Of a package of your "
            "own, build a wheel and give its path: requirements=['dist/mine-1.0-py3-none-any.whl']",
        )
    if match is None or not _REST.match(match["rest"]):
        raise InvalidRequirement(
            f"{shown} is no requirement as pip writes them.",
            hint='Write a name and, if it matters, a version: "pandas", "scikit-learn==1.5.2".',
        )
    return text


def _is_path(rest: str) -> bool:
    """Whether what follows a name makes it a path, or says that the package is at one."""
    where = rest.partition("@")[2].strip() if "@" in rest.partition(";")[0] else ""
    if where:
        return "://" not in where or where.startswith("file:")
    return rest.startswith(("/", "\\")) or rest.endswith(".whl")


def _option_refused(text: str, shown: str) -> InvalidRequirement:
    if text.startswith(("-e", "--editable")):
        return InvalidRequirement(
            f"{shown} is an editable install, which is a folder of this machine.",
            hint="Modules that the functions import travel by themselves: leave the line out.",
        )
    if text.startswith(_INDEX_OPTIONS):
        return InvalidRequirement(
            f"{shown} is an option; where packages come from is a setting of the server.",
            hint="Leave the line out, and ask the operator for PENSTOCK_PACKAGE_INDEX, "
            "PENSTOCK_PACKAGE_EXTRA_INDEXES or PENSTOCK_PACKAGE_FOLDERS.",
        )
    return InvalidRequirement(
        f"{shown} is an option of pip, which is not taken.",
        hint="Keep names and versions only; -r is followed in a file.",
    )


def read_file(path: str | Path) -> list[str]:
    """Return the requirements in a file as pip reads it; files that it includes with `-r` too.

    Raises:
        InvalidRequirement: The file cannot be read, includes itself, or a line is refused; the
            message names file and line.
    """
    return list(_read(Path(path).expanduser(), ()))


def _read(path: Path, above: tuple[Path, ...]) -> Iterator[str]:
    if path.resolve() in above:
        raise InvalidRequirement(f"{path} includes itself.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InvalidRequirement(
            f"The requirements file {path} cannot be read: {why}.",
            hint=f"Paths are looked up from {Path.cwd()}.",
        ) from None
    for number, line in _logical_lines(text):
        included = _FILE_OPTION.fullmatch(line)
        if included:
            inner = path.parent / included["file"].strip()
            yield from _read(inner, (*above, path.resolve()))
            continue
        try:
            yield line if is_wheel(line) else _checked(line)
        except InvalidRequirement as error:
            raise InvalidRequirement(
                f"{path}, line {number}: {error.message}", hint=error.hint
            ) from None


def is_wheel(requirement: object) -> bool:
    """Whether a requirement is the path of a wheel rather than a name."""
    return str(requirement).strip().endswith(".whl") and "://" not in str(requirement)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, continued ones joined, comments and blanks left out."""
    begun = 1
    parts: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun if parts else number
        parts.append(_COMMENT.sub("", line).strip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            whole = " ".join(filter(None, parts))
            parts = []
            if whole:
                yield begun, whole
    if any(parts):
        yield begun, " ".join(filter(None, parts))
