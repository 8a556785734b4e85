"""Secrets and keys stay out of texts, in whatever form they come."""

from __future__ import annotations

import base64
import json
import logging
import random
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import redaction
from penstock.core.errors import FunctionFailed
from penstock.core.redaction import HIDDEN, RedactingFormatter, Redactor

SECRET = 'p"ss wörd/+=&\\end'
KEY = "pk_d_0123abcd_" + "A" * 30 + "-_"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        json.dumps({"token": SECRET}),
        json.dumps({"token": SECRET}, ensure_ascii=False),
        repr(ValueError(SECRET)),
        "https://x/?t=" + quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_hidden_in_every_form_it_is_written_in(text: str) -> None:
    shown = Redactor([SECRET]).text(f"before {text} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "***" in shown
    assert "end" not in shown


@given(st.text(min_size=6), st.text(), st.text())
def test_no_secret_of_six_characters_survives_between_other_text(
    secret: str, before: str, after: str
) -> None:
    shown = Redactor([secret]).text(before + secret + after)
    # What is left may spell the secret anew only out of the text around it and the mask.
    assert "***" in shown


@pytest.mark.parametrize("others", [0, 100])
def test_few_and_many_secrets_are_found_as_one_pattern_would_find_them(others: int) -> None:
    rng = random.Random(3)
    pieces = [
        "pk_d_12345678_abcdefghijklmnopqrstuvwxyz012345", "whsec_" + "A" * 20, "s://me:you@host",
        "?token=abc", "&api_key=1", "a-secret", "a-secret-2", "tail", "x", " ", "=", "@",
    ]  # fmt: skip
    more = [f"{number:06}-never-there" for number in range(others)]
    redactor = Redactor(["a-secret", "a-secret-2", *more])
    whole = re.compile(redaction._BY_FORM + b"|a-secret-2|a-secret")
    for _ in range(2000):
        data = " ".join(rng.choices(pieces, k=rng.randrange(6))).encode()
        assert redactor.data(data) == whole.sub(redaction._masked, data)


def test_secrets_that_lap_over_each_other_are_hidden_whole() -> None:
    assert Redactor(["abcdefgh", "efghijkl"]).text("<abcdefghijkl>") == "<***>"
    key = "pk_d_0123abcd_" + "A" * 32
    assert Redactor([key]).text(key) == "pk_d_0123abcd_***"


def test_many_long_secrets_are_taken_and_the_oldest_go() -> None:
    redactor = Redactor()
    values = [f"{number:04}" + "s" * 60_000 for number in range(600)]
    for value in values:  # as one pattern this would take hours, and all the memory there is
        redactor.add([value])
    assert redactor.text(f"the last is {values[-1]}.") == "the last is ***."
    assert sum(map(len, redactor._forms)) <= redaction._MOST_BYTES
    assert redactor.text(values[0]) == values[0]
    assert redactor.cut(values[-1].encode(), 10) == b"***"


def test_each_long_line_of_a_secret_is_hidden_by_itself() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqh\nshort\n-----END KEY-----"
    hidden = Redactor([pem])
    assert hidden.text("line: MIIEvQIBADANBgkqh") == "line: ***"
    assert hidden.text("a short line") == "a short line"


def test_api_keys_and_webhook_secrets_are_known_by_their_form() -> None:
    shown = Redactor().text(f"Authorization: {KEY}, whsec_{'a' * 32}")
    assert shown == "Authorization: pk_d_0123abcd_***, whsec_***"


def test_the_prefix_of_a_key_may_be_shown() -> None:
    assert Redactor().text("The key pk_d_0123abcd may not") == "The key pk_d_0123abcd may not"


def test_a_line_is_never_cut_inside_a_secret() -> None:
    hidden = Redactor(["abcdefghij"])
    assert hidden.cut(b"x" * 10 + b"abcdefghij", 16) == b"x" * 10 + b"***"
    assert hidden.cut(b"x" * 10 + b"abcdefgh", 16) == b"x" * 10


def test_an_error_shows_no_secret_in_any_of_its_fields() -> None:
    HIDDEN.add(["open-sesame-1"])
    error = FunctionFailed(
        "pre raised: open-sesame-1",
        hint="Not open-sesame-1.",
        traceback="  raise ValueError('open-sesame-1')",
        logs=["open-sesame-1"],
    )
    assert "sesame" not in json.dumps(error.to_dict(with_traceback=True))


def test_the_servers_log_shows_no_secret_also_not_in_tracebacks() -> None:
    HIDDEN.add(["open-sesame-2"])
    try:
        raise ValueError("open-sesame-2")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "with %s", (KEY,), info)
    text = RedactingFormatter("%(message)s").format(record)
    assert "sesame" not in text
    assert KEY not in text
    assert "ValueError: ***" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hunter2@hooks.example/x", "https://***@hooks.example/x"),
        ("postgresql://ghp_123@db/x?a=1", "postgresql://***@db/x?a=1"),
        ("http://h/x?a=1&access_token=abc&b=2", "http://h/x?a=1&access_token=***&b=2"),
        ("GET /x?API-KEY=abc%20d HTTP/1.1", "GET /x?API-KEY=*** HTTP/1.1"),
        ("http://h/f?expires=9&Signature=a/b+c=", "http://h/f?expires=9&Signature=***"),
        ('{"url": "https://a:b@c/d?sig=e"}', '{"url": "https://***@c/d?sig=***"}'),
        ("http://h/users/me@example.org?page=2", "http://h/users/me@example.org?page=2"),
    ],
)
def test_credentials_in_urls_are_known_by_their_form(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown
    assert Redactor(["another secret"]).text(text) == shown


def test_a_webhook_url_with_a_password_is_refused_without_showing_it() -> None:
    from penstock.control.webhook_urls import check_url
    from penstock.core.errors import InvalidWebhookUrl

    with pytest.raises(InvalidWebhookUrl, match="user name") as caught:
        check_url("https://me:hunter2@hooks.example/x")
    assert "hunter2" not in str(caught.value.to_dict(with_traceback=True))
