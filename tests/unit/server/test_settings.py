"""Options come from the argument, else the environment, else the default."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.core.errors import InvalidSetting
from penstock.server.load_settings import describe_settings, load_settings


def test_an_argument_wins_over_the_environment_which_wins_over_the_default() -> None:
    environ = {"PENSTOCK_PORT": "9001", "PENSTOCK_HOST": "::1"}
    settings = load_settings({"port": 9002, "host": None}, environ)
    assert (settings.port, settings.host, settings.drain_s) == (9002, "::1", 30.0)


def test_the_data_folder_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert load_settings({}, {}).data_dir == Path("/somewhere/penstock")


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        ({"port": 70000}, {}, ["option port", "0 to 65535"]),
        ({}, {"PENSTOCK_PORT": "many"}, ["PENSTOCK_PORT", "'many'", "whole number"]),
        ({}, {"PENSTOCK_DRAIN_S": "nan"}, ["PENSTOCK_DRAIN_S", "0 to 3600"]),
        (
            {"memory_value_bytes": 2**26 + 1},
            {},
            ["option memory_value_bytes", "1024 to 67108864"],
        ),
        ({"log_level": "loud"}, {}, ["'loud'", "debug, info, warning, error"]),
        ({"color": "red"}, {}, ["no option 'color'"]),
    ],
)
def test_a_bad_value_is_refused_with_where_it_came_from(
    arguments: dict[str, object], environ: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(InvalidSetting) as caught:
        load_settings(arguments, environ)
    assert all(word in str(caught.value) for word in words), caught.value


def test_every_option_is_described_with_its_environment_variable() -> None:
    found = {doc.name: doc for doc in describe_settings()}
    assert found["port"].environment == "PENSTOCK_PORT"
    assert found["max_body_bytes"].default == str(64 * 1024 * 1024)
    assert found["admin_key"].default == "made up once"
    assert all(doc.doc.endswith(".") for doc in found.values())
