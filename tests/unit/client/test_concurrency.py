"""What is sent for `concurrency`."""

from __future__ import annotations

import pytest

from penstock.client.options import Options
from penstock.core.flow import Flow, ModelType
from penstock.core.records import VersionSettings


async def waits(data):
    return data


def plain(data):
    return data


@pytest.mark.parametrize(
    ("function", "given", "sent"),
    [(plain, None, 1), (waits, None, 64), (plain, 16, 16), (waits, 2, 2), (waits, 0, 0)],
)
def test_a_flow_with_async_functions_overlaps_its_runs_unless_told_otherwise(function, given, sent):
    flow = Flow.parse([(ModelType.PYTHON, plain, {"pre": function})])
    settings = Options(concurrency=given).settings(flow)
    assert settings["concurrency"] == sent
    assert VersionSettings(**settings).concurrency == sent
