"""What is said of a deploy that failed; used by `deploys`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from penstock.codec.bundle import Manifest
from penstock.control.events import FailedEvent
from penstock.core.errors import InternalError, NotFound, PenstockError, StoreError
from penstock.environments.check import model_mismatch
from penstock.stores.failures import file_failure

log = logging.getLogger("penstock.versions")

#: Seconds before a store that did not take the failure of a version is asked again.
MARK_RETRY_S = 1.0

#: How many of the worker's last lines go with a failed deploy.
LOG_LINES = 50


def blame_versions(error: PenstockError, manifest: Manifest, packages: Mapping[str, str]) -> None:
    """Put before the error that a model was saved with other versions than it was loaded with."""
    models = [(number, stage.packages) for number, stage in manifest.walk()]
    found = model_mismatch(models, packages, error.stage)
    if found is not None:
        error.message = f"{found[0]} {error.message}"
        error.hint = found[1]
        error.args = (error.message,)


def as_ours(error: Exception, doing: str = "The deploy") -> PenstockError:
    """Return an error of ours for whatever a deploy failed with; what is not ours is logged."""
    if isinstance(error, PenstockError):
        return error
    log.error("%s failed unexpectedly.", doing, exc_info=error)
    return file_failure(error, doing[0].lower() + doing[1:]) or InternalError(
        f"{doing} failed: {type(error).__name__}.", hint="The server's log has the details."
    )


def failed_event(error: PenstockError) -> FailedEvent:
    """Return the last event of a deploy that failed."""
    logs = [str(line) for line in error.facts.get("logs", ())][-LOG_LINES:]
    return FailedEvent(error.to_dict(with_traceback=True), logs)


async def as_soon_as_it_can(mark: Callable[[], Awaitable[object]]) -> None:
    """Await `mark()` again and again until the store takes it, or the version is no more."""
    while True:
        await asyncio.sleep(MARK_RETRY_S)
        with suppress(StoreError):
            with suppress(NotFound):
                await mark()
            return
