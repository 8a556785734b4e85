"""Marks the words of Python, JSON and shell text for the style sheets. Used as template filters.

Everything is escaped here; what comes out is safe to put into a page. A text that is no valid
Python is still shown, because only a regular expression looks at it.
"""

from __future__ import annotations

import keyword
import re

from markupsafe import Markup, escape

_KEYWORDS = frozenset(keyword.kwlist)
_STRING = (
    r"(?:[rbfuRBFU]{0,2})(?:'''[\s\S]*?(?:'''|\Z)|\"\"\"[\s\S]*?(?:\"\"\"|\Z)"
    r"|'(?:\\.|[^'\\\n])*'?|\"(?:\\.|[^\"\\\n])*\"?)"
)
_PYTHON = re.compile(
    rf"(?P<c>#[^\n]*)|(?P<s>{_STRING})|(?P<def>\b(?:def|class)\s+)(?P<fn>\w+)"
    r"|(?P<d>\b\d[\w.]*)|(?P<w>\b[A-Za-z_]\w*)"
)
_JSON = re.compile(
    r"(?P<s>\"(?:\\.|[^\"\\])*\"?)|(?P<d>-?\b\d[\d.eE+-]*)|(?P<k>\b(?:true|false|null)\b)"
)
_SHELL = re.compile(
    r"(?P<s>'[^']*'?|\"(?:\\.|[^\"\\])*\"?)|(?P<fn>^\w+)|(?P<c>(?:^|\s)#[^\n]*)", re.MULTILINE
)
_SCRIPT = re.compile(
    r"(?P<c>//[^\n]*)|(?P<s>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`)"
    r"|(?P<k>\b(?:const|let|await|async|new|return|function|import|from|for|of|if)\b)|(?P<d>\b\d+\b)"
)


def python(text: str) -> Markup:
    """Return Python source with its keywords, strings, numbers, comments and definitions marked."""
    return _mark(_PYTHON, text)


def json_text(text: str) -> Markup:
    """Return JSON text with its strings, numbers and constants marked."""
    return _mark(_JSON, text)


def shell(text: str) -> Markup:
    """Return a shell command with its command and strings marked."""
    return _mark(_SHELL, text)


def script(text: str) -> Markup:
    """Return JavaScript with its keywords and strings marked."""
    return _mark(_SCRIPT, text)


def lines(marked: Markup) -> list[Markup]:
    """Return marked text by lines; a mark that spans lines is closed and opened again."""
    out: list[Markup] = []
    is_open = ""
    for line in str(marked).split("\n"):
        whole = is_open + line
        for tag in re.findall(r"<span class=\w+>|</span>", line):
            is_open = "" if tag == "</span>" else tag
        out.append(Markup(whole + ("</span>" if is_open else "")))  # noqa: S704 - escaped by `_mark`
    return out


def _mark(pattern: re.Pattern[str], text: str) -> Markup:
    out: list[str] = []
    at = 0
    for found in pattern.finditer(text):
        out.append(str(escape(text[at : found.start()])))
        out.append(_marked(found))
        at = found.end()
    out.append(str(escape(text[at:])))
    return Markup("".join(out))  # noqa: S704 - every piece was escaped


def _marked(found: re.Match[str]) -> str:
    kinds = {name: value for name, value in found.groupdict().items() if value is not None}
    if "def" in kinds:
        head, _, gap = kinds["def"].partition(kinds["def"].strip())
        word = kinds["def"].strip()
        return f"{head}<span class=k>{word}</span>{gap}<span class=fn>{escape(kinds['fn'])}</span>"
    kind, value = next(iter(kinds.items()))
    if kind == "w":
        return f"<span class=k>{value}</span>" if value in _KEYWORDS else value
    return f"<span class={kind}>{escape(value)}</span>"


FILTERS = {"python": python, "json_text": json_text, "shell": shell, "script": script}
