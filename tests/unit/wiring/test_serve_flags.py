"""Every documented option of the server is a flag of `penstock serve`, and the other way round."""

from __future__ import annotations

import typer

from penstock.cli.main import build
from penstock.server.load_settings import describe_settings
from penstock.server.settings import Settings
from penstock.wiring.web_parts import gateway_limits


def flags() -> set[str]:
    group = typer.main.get_command(build())
    serve = group.commands["serve"]  # type: ignore[attr-defined]
    return {name for parameter in serve.params for name in parameter.opts}


def test_the_documented_options_and_the_flags_are_the_same() -> None:
    documented = {setting.flag for setting in describe_settings() if setting.flag}
    assert flags() - {"--data"} == documented
    assert "--data" in flags()


def test_what_is_secret_is_taken_from_the_environment_only() -> None:
    secret = {setting.name for setting in describe_settings() if not setting.flag}
    assert secret == {"admin_key", "database", "secrets_key"}


def test_the_limits_of_the_gateway_are_the_settings() -> None:
    limits = gateway_limits(
        Settings(
            max_address_bytes=300,
            max_header_bytes=2000,
            max_header_fields=20,
            header_timeout_s=1,
            body_timeout_s=2,
            idle_timeout_s=3,
            unread_timeout_s=5,
            max_connections_per_address=4,
        )
    )
    assert (limits.address_bytes, limits.head_bytes, limits.head_fields) == (300, 2000, 20)
    assert (limits.head_s, limits.body_s, limits.idle_s, limits.stall_s) == (1, 2, 3, 5)
    assert limits.connections_per_address == 4
