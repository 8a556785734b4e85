"""Makes the reference pages of the Python, HTTP and command-line interfaces, for `generate.py`."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

import penstock
from penstock.cli.main import build
from penstock.server.openapi import PREDICT_ERRORS, describe_api, request_forms
from penstock.server.routes import ENDPOINTS

NOTE = "<!-- Made by docs/generate.py; edit the code instead. -->"

#: Public names in the order in which people meet them.
FIRST = ["deploy", "Endpoint", "Conduit", "model_type", "save", "get", "delete", "memory",
         "model_api_request", "start", "PenstockError"]  # fmt: skip

_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields):$", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}[\w.`, ]+): (.*)$", re.DOTALL)

PYTHON_INTRO = """\
`import penstock` loads nothing heavy; each name is found when it is first used.
See [processing functions](../how-to/processing-functions.md) for what `pre` and `post` are given,
and [errors](errors.md) for every exception."""

HTTP_INTRO = """\
Calls need a key, but for the few below that say `none`: `Authorization: <key>`, or
`Authorization: Bearer <key>`. Answers are JSON, errors too: see [errors](errors.md).
A running server shows this description as OpenAPI 3.1 at `/v1/openapi.json`, and that of one
deployment at `/v1/<project>/<name>/openapi.json`."""


def python_page() -> str:
    """The public names of `penstock` with their signatures and docstrings."""
    names = FIRST + [n for n in penstock.__all__ if n not in FIRST and n != "__version__"]
    parts = [NOTE, "# Python", PYTHON_INTRO]
    for name in names:
        parts += list(_described(name, getattr(penstock, name)))
    parts += ["## `__version__`", "The installed version, as text."]
    return "\n\n".join(parts) + "\n"


def _described(name: str, value: Any) -> Iterator[str]:
    if name == "model_type":
        yield "## `model_type`"
        text = _prose(inspect.getdoc(value) or "")
        yield text.replace("`docs/reference/model-types.md`", "[model types](model-types.md)")
        yield "Members: " + ", ".join(f"`{member.name}`" for member in value) + "."
        return
    if inspect.isclass(value) or inspect.isfunction(value):
        yield f"## `{name}`"
        yield _signature(name, value)
        yield _prose(inspect.getdoc(value) or "")
    else:
        yield f"## `{name}`"
        yield _prose(inspect.getdoc(type(value)) or "")
        value = type(value)
    if inspect.isclass(value):
        for method, function in vars(value).items():
            if method.startswith("_") or not inspect.isfunction(function):
                continue
            yield f"### `{name}.{method}`"
            yield _signature(method, function)
            yield _prose(inspect.getdoc(function) or "")


def _signature(name: str, value: Any) -> str:
    found = inspect.signature(value)
    parts = list(_parameters(found))
    answer = "" if found.return_annotation is inspect.Signature.empty else (
        f" -> {_annotation(found.return_annotation)}")  # fmt: skip
    line = f"{name}({', '.join(parts)}){answer}"
    if len(line) > 100:
        inside = "".join(f"    {part},\n" for part in parts)
        line = f"{name}(\n{inside}){answer}"
    return f"```text\n{line}\n```"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    starred = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
        text = stars.get(parameter.kind, "") + parameter.name
        if parameter.annotation is not inspect.Parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not inspect.Parameter.empty:
            default = repr(parameter.default)
            text += " = " + ("…" if " at 0x" in default else default)
        yield text


def _annotation(value: Any) -> str:
    text = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    return "options of deploy" if text == "Unpack[Given]" else text


def _prose(text: str) -> str:
    """Return a google-style docstring as Markdown: its sections become lists."""
    first, *rest = _SECTION.split(text)
    out = [first.strip()]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        out.append(f"**{title}**")
        lines: list[str] = []
        for entry in _entries(body):
            matched = _ENTRY.match(entry)
            lines.append(f"* `{matched[1]}`: {matched[2]}" if matched else f"* {entry}")
        out.append("\n".join(lines))
    return "\n\n".join(out)


def _entries(body: str) -> Iterator[str]:
    entry = ""
    for line in textwrap.dedent(body.strip("\n")).splitlines():
        if line.startswith(" ") or not entry:
            entry = f"{entry} {line.strip()}".strip()
        else:
            yield entry
            entry = line.strip()
    if entry:
        yield entry


def http_page() -> str:
    """Every route of the OpenAPI document."""
    described = describe_api(ENDPOINTS, "", "")
    parts = [NOTE, "# HTTP API", HTTP_INTRO, _routes_table(described)]
    parts += ["## A predict request", _forms(), _predict_errors()]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts += list(_operation(path, method, operation))
    return "\n\n".join(parts) + "\n"


def _routes_table(described: dict[str, Any]) -> str:
    rows = ["| route | key | what it does |", "|---|---|---|"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            rows.append(f"| `{method.upper()} {path}` | {_key(operation)} "
                        f"| {operation['summary']} |")  # fmt: skip
    return "\n".join(rows)


def _key(operation: dict[str, Any]) -> str:
    if operation.get("security") == []:
        return "none"
    found = re.search(r"with (\w+) scope", operation.get("description", ""))
    return found[1] if found else "any"


def _forms() -> str:
    rows = ["| Content-Type | body |", "|---|---|"]
    texts = {
        "application/json": "The data, usually a list; or `{\"data\": …, \"parameters\": {…}}`: an "
        "object with other keys is the data itself.",
        "multipart/form-data": "`data`: the data as JSON text; `files`: any number of files, in "
        "the order of the data (or `file0`, `file1`, …).",
        "application/x-npy": "One NumPy array, written without pickle.",
        "application/octet-stream": "One file, as is any other media type; the data is then empty.",
    }  # fmt: skip
    return "\n".join([*rows, *(f"| `{kind}` | {texts[kind]} |" for kind in request_forms())])


def _predict_errors() -> str:
    codes = ", ".join(f"`{kind.code}`" for kind in PREDICT_ERRORS)
    return f"A call may be told: {codes}."


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"## `{method.upper()} {path}`"
    yield " ".join(filter(None, [operation["summary"], operation.get("description", "")]))
    taken = operation.get("requestBody", {}).get("content", {})
    if taken:
        yield "Takes " + ", ".join(_content(kind, form) for kind, form in taken.items()) + "."
    rows = ["| status | answer |", "|---|---|"]
    for status, answer in operation["responses"].items():
        forms = ", ".join(_content(k, f) for k, f in answer.get("content", {}).items())
        text = answer["description"] if int(status) >= 400 else forms or "No body."
        rows.append(f"| {status} | {text} |")
    yield "\n".join(rows)


def _content(kind: str, form: dict[str, Any]) -> str:
    schema = form.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f"`{schema}` as `{kind}`" if schema else f"`{kind}`"


COMMANDS_INTRO = """`penstock --help` and `penstock <command> --help` say the same.
`penstock --install-completion` teaches the shell you use to complete commands, options and names
of deployments.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | the request or the flow was refused, or a question was answered with no |
| 2 | the command itself is wrong: an unknown option, a missing argument |
| 3 | there is no server at that address, or no key for it |
| 4 | the version or the run cannot work: it does not load, or a worker died |"""


def command_page() -> str:
    """Every command of `penstock` with its options."""
    group: Any = typer.main.get_command(build())
    parts = [NOTE, "# Command line", COMMANDS_INTRO]
    for name, command in sorted(group.commands.items()):
        parts += _command(name, command)
        for sub, inner in sorted(getattr(command, "commands", {}).items()):
            parts += _command(f"{name} {sub}", inner)
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: Any) -> list[str]:
    """Return the section of a command."""
    help_text = (command.help or "").partition("Args:")[0].replace("\x0c", "").strip()
    parts = [f"## `penstock {name}`", help_text]
    if command.params:
        rows = ["| option | default | meaning |", "|---|---|---|"]
        notes = _argument_notes(command.callback)
        for option in command.params:
            default = "–" if option.default is None else f"`{option.default}`"
            meaning = getattr(option, "help", None) or notes.get(option.name, "")
            flags = ", ".join(f"`{o}`" for o in option.opts)
            rows.append(f"| {flags} | {default} | {meaning} |")
        parts.append("\n".join(rows))
    return parts


def _argument_notes(callback: Any) -> dict[str, str]:
    text = inspect.getdoc(inspect.unwrap(callback)) or ""
    _, _, arguments = text.partition("Args:\n")
    pairs = [_ENTRY.match(entry) for entry in _entries(arguments)]
    return {found[1]: found[2] for found in pairs if found}
