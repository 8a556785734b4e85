"""What a deploy prints, where a bar moves, and what happens where it cannot be printed."""

from __future__ import annotations

import io
import sys

import pytest

from penstock.client import progress
from penstock.client.progress import NOTEBOOK, PLAIN, TERMINAL, Reporter, surroundings


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class OutStream(io.StringIO):
    """Stands for the stream that a kernel puts in place of standard output."""


OutStream.__module__ = "ipykernel.iostream"


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_the_endpoint_is_a_line_of_its_own_in_exactly_this_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = "http://127.0.0.1:8700/v1/default/" + "a" * 200
    Reporter().endpoint(url, "curl it")
    assert capsys.readouterr().out == f"🌍 Endpoint: {url}\ncurl it\n"


def test_each_step_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    reporter.step("loading")
    reporter.step("loading")
    assert capsys.readouterr().out.count("loading") == 1


def test_quiet_prints_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "surroundings", lambda: TERMINAL)
    reporter = Reporter(quiet=True)
    reporter.step("a")
    reporter.detail("b")
    reporter.warn("c")
    reporter.endpoint("d", "e")
    with reporter.transfer(10) as advance:
        advance(10)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_output_that_cannot_show_the_globe_shows_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", newline="\n"))
    Reporter().endpoint("http://x/v1/p/n/predict", "curl")
    assert raw.getvalue() == b"? Endpoint: http://x/v1/p/n/predict\ncurl\n"


def test_without_any_output_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    Reporter().step("a")
    assert surroundings() == PLAIN


def test_a_bar_moves_in_a_terminal_and_leaves_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    assert surroundings() == TERMINAL
    with Reporter().transfer(100) as advance:
        advance(60)
        advance(40)
    assert "uploading" in out.getvalue()
    assert "100" in out.getvalue()


def test_a_kernel_is_recognised_by_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", OutStream())
    assert surroundings() == NOTEBOOK


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("CI", "1"), ("TERM", "dumb")])
def test_nothing_moves_in_ci_or_on_a_dumb_terminal(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv(name, value)
    assert surroundings() == PLAIN
    with Reporter().transfer(100) as advance:
        advance(100)
    assert out.getvalue() == ""


def test_nothing_moves_when_output_goes_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert surroundings() == PLAIN


def test_ci_set_to_false_is_no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("CI", "false")
    assert surroundings() == TERMINAL


def test_nothing_to_send_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    with Reporter().transfer(0):
        pass
    assert out.getvalue() == ""
