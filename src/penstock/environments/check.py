"""Whether a server has what a flow needs, before anything is sent.

Called by `penstock.client.preflight` with the server's own description of itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from penstock.core.errors import MissingImports
from penstock.environments.describe import EnvironmentInfo
from penstock.environments.distributions import package_for


@dataclass(frozen=True)
class Need:
    """A module that one part of a flow needs.

    Attributes:
        stage: Stage number, from 1.
        role: `"pre"`, `"post"`, or None for the stage's model.
        module: Top-level module.
        distribution: The distribution it comes from on the client, if known.
        version: That distribution's version on the client.
    """

    stage: int
    role: str | None
    module: str
    distribution: str | None = None
    version: str | None = None

    @property
    def subject(self) -> str:
        """Who needs it, as the beginning of a sentence."""
        what = f"`{self.role}`" if self.role else "The model"
        return f"{what} of stage {self.stage}"


def check(
    needs: Sequence[Need], server: EnvironmentInfo, *, travelling: Collection[str] = ()
) -> None:
    """Raise `MissingImports` if the server lacks a needed module; names all that are missing.

    Args:
        needs: What the flow needs.
        server: What the server has.
        travelling: Top-level modules that are sent along.
    """
    there = {*server.modules, *travelling}
    missing = [need for need in needs if need.module not in there]
    if not missing:
        return
    sentences: dict[str, list[str]] = {}
    for need in missing:
        verb = "imports" if need.role else "refers to"
        sentences.setdefault(f"{need.subject} {verb}", []).append(f"`{need.module}`")
    text = " ".join(
        f"{start} {_and(modules)}, which the server's environment does not have."
        for start, modules in sentences.items()
    )
    packages = sorted({package_for(need.module, need.distribution) for need in missing})
    raise MissingImports(
        text,
        stage=missing[0].stage,
        function=missing[0].role,
        hint=f"Install {_and([f'`{p}`' for p in packages])} in the server's environment: run "
        f"`pip install {' '.join(packages)}` there and restart the server.",
        modules=sorted({need.module for need in missing}),
        packages=packages,
    )


def version_warnings(needs: Sequence[Need], server: EnvironmentInfo) -> list[str]:
    """Return a sentence per library whose minor version differs where a pickle depends on it."""
    found: dict[str, str] = {}
    for need in needs:
        there = server.packages.get(need.distribution or "")
        if need.version and there and _minor(need.version) != _minor(there):
            found[need.distribution or ""] = (
                f"{need.subject} was saved with {need.distribution} {need.version}; the server has "
                f"{there}. If it does not load, save it with the server's version."
            )
    return list(found.values())


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _and(words: Sequence[str]) -> str:
    unique = list(dict.fromkeys(words))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}"
