"""Ready calls of an endpoint in curl, Python and JavaScript, made from a request.

The key is never in them: they read it from `PENSTOCK_KEY`. A test runs each against a server.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from penstock.codec.payload import decode
from penstock.core.errors import PenstockError

#: Data longer than this many characters is cut out of a snippet.
_LONG = 300


class Sent(NamedTuple):
    """A request taken apart: data and parameters as JSON text, names and types of the files."""

    data: str
    parameters: str
    files: list[tuple[str, str, int]]


class Snippets(NamedTuple):
    """The same call in three languages."""

    curl: str
    python: str
    javascript: str


def read_sent(media_type: str, body: bytes) -> Sent | None:
    """Return a request taken apart, or None for one that has no JSON data."""
    try:
        asked = decode(media_type, body)
        data = json.dumps(asked.data, ensure_ascii=False)
    except (PenstockError, TypeError, ValueError):
        return None
    parameters = json.dumps(asked.parameters, ensure_ascii=False) if asked.parameters else ""
    files = [(f.name, f.content_type, f.size) for f in asked.files]
    return Sent(data, parameters, files)


def snippets(
    endpoint: str, example: tuple[str, bytes] | None, *, uses_files: bool = False
) -> Snippets:
    """Return the calls for an example, or for a made-up request when there is none.

    Args:
        endpoint: The predict URL.
        example: Media type and body.
        uses_files: Whether the flow takes files.
    """
    sent = read_sent(*example) if example is not None else None
    if sent is None:
        sent = (
            Sent('["a"]', "", [("a.png", "image/png", 0)])
            if uses_files
            else Sent("[1, 2, 3]", "", [])
        )
    data = sent.data if len(sent.data) <= _LONG else "[]"
    sent = sent._replace(data=data)
    return Snippets(_curl(endpoint, sent), _python(endpoint, sent), _javascript(endpoint, sent))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _body(sent: Sent) -> str:
    if sent.parameters:
        return f'{{"data": {sent.data}, "parameters": {sent.parameters}}}'
    return sent.data


def _curl(endpoint: str, sent: Sent) -> str:
    server, slash, path = endpoint.partition("/v1/")
    lines = [f"PENSTOCK={server}", f'curl "$PENSTOCK{slash}{path}" \\']
    lines.append('  -H "Authorization: $PENSTOCK_KEY" \\')
    if not sent.files:
        lines += ["  -H 'Content-Type: application/json' \\", f"  -d {_quoted(_body(sent))}"]
        return "\n".join(lines)
    lines.append(f"  -F {_quoted('data=' + sent.data)} \\")
    if sent.parameters:
        lines.append(f"  -F {_quoted('parameters=' + sent.parameters)} \\")
    lines.append("  " + " ".join(f"-F files=@{name}" for name, _kind, _size in sent.files))
    return "\n".join(lines)


def _python(endpoint: str, sent: Sent) -> str:
    lines = ["import os", "import requests", "", "answer = requests.post(", f'    "{endpoint}",']
    lines.append('    headers={"Authorization": os.environ["PENSTOCK_KEY"]},')
    if not sent.files:
        lines += [f"    json={_literal(_body(sent))},"]
    else:
        fields = {"data": sent.data, **({"parameters": sent.parameters} if sent.parameters else {})}
        lines.append(f"    data={fields!r},")
        opened = ", ".join(f'("files", open("{name}", "rb"))' for name, _k, _s in sent.files)
        lines.append(f"    files=[{opened}],")
    return "\n".join([*lines, ")", 'print(answer.json()["result"])'])


def _literal(text: str) -> str:
    return repr(json.loads(text))


def _javascript(endpoint: str, sent: Sent) -> str:
    lines = []
    if sent.files:
        lines += ["const body = new FormData();", f"body.append('data', {json.dumps(sent.data)});"]
        if sent.parameters:
            lines.append(f"body.append('parameters', {json.dumps(sent.parameters)});")
        lines += ["for (const file of input.files) body.append('files', file);"]
    else:
        lines.append(f"const body = JSON.stringify({_body(sent)});")
    lines += [f"const answer = await fetch('{endpoint}', {{", "  method: 'POST',"]
    kind = "" if sent.files else "'Content-Type': 'application/json', "
    lines.append(f"  headers: {{{kind}Authorization: process.env.PENSTOCK_KEY}},")
    return "\n".join([*lines, "  body,", "});", "console.log((await answer.json()).result);"])
