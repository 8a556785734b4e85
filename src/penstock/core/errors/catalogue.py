"""All errors, by their code. Imported after the modules that define them, by the package."""

from __future__ import annotations

from typing import Any

from penstock.core.errors.error import PenstockError, rebuild


def all_errors() -> list[type[PenstockError]]:
    """Return every error class, the base first, each parent before its children."""
    found: list[type[PenstockError]] = []
    waiting: list[type[PenstockError]] = [PenstockError]
    while waiting:
        kind = waiting.pop(0)
        found.append(kind)
        waiting.extend(kind.__subclasses__())
    return found


BY_CODE: dict[str, type[PenstockError]] = {kind.code: kind for kind in all_errors()}


def from_dict(fields: dict[str, Any]) -> PenstockError:
    """Return the error that `to_dict` described; an unknown code gives a plain `PenstockError`."""
    return rebuild(BY_CODE.get(str(fields.get("code")), PenstockError), fields)
