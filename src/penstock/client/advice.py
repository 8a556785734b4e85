"""What people are told of a flow before it is sent; nothing of it stops a deploy.

Called by `preflight`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from penstock.codec.bundle import FunctionEntry
from penstock.codec.captures import WARN_BYTES, size_text
from penstock.codec.functions import PackedFunction
from penstock.core.branches import BranchStage
from penstock.core.flow import Stage
from penstock.core.pipelines import PipelineSource
from penstock.core.signatures import FILES_AT, is_foreign

#: Second parameters of a `post` that suggest files; it gets the request's data there (S12).
_FILE_WORDS = frozenset(
    {"attachment", "attachments", "document", "documents", "file", "files", "image", "images",
     "photo", "photos", "picture", "pictures", "upload", "uploads"}
)  # fmt: skip


def of_function(
    number: int,
    role: str,
    stage: Stage | BranchStage,
    function: Callable[..., Any],
    packed: PackedFunction,
) -> list[str]:
    """Return what the user should know of a function that travels."""
    found: list[str] = []
    if packed.size >= WARN_BYTES:
        biggest = max(packed.entry.captured, key=lambda captured: captured.size)
        found.append(
            f"`{role}` of stage {number} takes along {size_text(packed.size)}; the largest "
            f"variable is `{biggest.name}` ({biggest.type}, {size_text(biggest.size)})."
        )
    if is_foreign(function) and role in FILES_AT and _takes_more(function):
        found.append(
            f"`{role}` of stage {number} is `{packed.entry.name}`, which was not written in "
            f"Python for a stage: it gets {stage.arguments(role)} argument only. Wrap it in a "
            "function of your own to give it more."
        )
    if role == "post" and stage.arguments(role) == 2 and not is_foreign(function):
        second = list(inspect.signature(function).parameters)[1]
        if second.lower() in _FILE_WORDS:
            found.append(
                f"`post` of stage {number} names its second parameter `{second}`, but gets "
                "the request's data there. Write post(result, input_data, files) to get the "
                "files."
            )
    return found


def of_secrets(number: int, role: str, names: Sequence[str | None]) -> list[str]:
    """Return what to do where a function computes the name of a secret (None)."""
    if None not in names:
        return []
    return [
        f"`{role}` of stage {number} computes the name of a secret; declare those it may ask for "
        "with secrets=[...]."
    ]


def of_hub(number: int, source: PipelineSource) -> list[str]:
    """Return what to do where a pipeline is fetched whenever it is loaded."""
    names = source.from_hub
    if not names or "revision" in source.arguments:
        return []
    return [
        f"Stage {number} fetches {', '.join(names)} from the Hub whenever it is loaded, as it is "
        "then. Give a folder of pipe.save_pretrained(folder), or revision= with a commit, so that "
        "the version never changes."
    ]


def summary(number: int, role: str, entry: FunctionEntry, local: Sequence[str]) -> str:
    """Return the line about a function: what it takes along and what it uses."""
    taken = ", ".join(f"{c.name} ({c.type}, {size_text(c.size)})" for c in entry.captured)
    used = [f"{i.distribution or i.module} {i.version or ''}".strip() for i in entry.imports]
    parts = [f"takes along {taken}"] if taken else []
    parts += [f"uses {', '.join(used)}"] if used else []
    parts += [f"with the modules {', '.join(local)}"] if local else []
    return f"{role} of stage {number} ({entry.name}): " + ("; ".join(parts) or "stands alone")


def _takes_more(function: Callable[..., Any]) -> bool:
    """Whether a function has a second positional parameter."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in inspect.signature(function).parameters.values()) > 1
