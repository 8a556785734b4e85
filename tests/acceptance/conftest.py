"""Fixtures of the acceptance tests: deploying on the shared server, and cleaning up after it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock import Endpoint, PenstockError, deploy

Put = Callable[..., Endpoint]

_NUMBERS = itertools.count(1)


@contextlib.contextmanager
def _deploying(server: Any) -> Iterator[Put]:
    made: list[Endpoint] = []

    def put(flow: Any, name: str | None = None, **options: Any) -> Endpoint:
        name = name or f"acceptance-{next(_NUMBERS)}"
        endpoint = deploy(
            flow, name, server.keys["deploy"], server=server.url, quiet=True, **options
        )
        made.append(endpoint)
        return endpoint

    yield put
    for endpoint in set(made):
        with contextlib.suppress(PenstockError):
            endpoint.delete()


@pytest.fixture
def put(server: Any) -> Iterator[Put]:
    """Deploy on the shared server: `put(flow, name=…, **options)`; deleted after the test."""
    with _deploying(server) as act:
        yield act


@pytest.fixture(scope="module")
def put_once(server: Any) -> Iterator[Put]:
    """The same for deployments that the tests of a file share."""
    with _deploying(server) as act:
        yield act
