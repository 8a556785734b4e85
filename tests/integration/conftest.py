"""Ledgers that end with their test, and servers with either database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_cluster import Cluster
from run_faults import Ledger

Start = Callable[..., Any]


@pytest.fixture
def keep() -> Iterator[Callable[[Ledger], Ledger]]:
    """End ledgers that a failing test leaves behind."""
    kept: list[Ledger] = []

    def remember(ledger: Ledger) -> Ledger:
        kept.append(ledger)
        return ledger

    yield remember
    for ledger in kept:
        ledger.end()


@pytest.fixture
def postgres_server(start_server: Start, postgres: Cluster) -> Start:
    """Like `start_server`, with a database in PostgreSQL for each data folder."""
    urls: defaultdict[Path | None, str] = defaultdict(lambda: postgres.url(postgres.new_database()))

    def start(
        data: Path | None = None, environment: dict[str, str] | None = None, **options: Any
    ) -> Any:
        asked = {"PENSTOCK_DATABASE": urls[data], **(environment or {})}
        live = start_server(data, asked, **options)
        urls[live.data] = urls[data]
        return live

    return start


@pytest.fixture(params=["start_server", "postgres_server"], ids=["sqlite", "postgresql"])
def start_either(request: pytest.FixtureRequest) -> Start:
    """Start servers whose records are in either database."""
    start: Start = request.getfixturevalue(request.param)
    return start
