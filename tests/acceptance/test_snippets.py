"""The calls that the pages show: each is run as it is shown, against a real deployment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock import model_type
from penstock.dashboard.snippets import snippets


def same(value: Any) -> Any:
    return value


def sizes(data: Any, files: Any) -> Any:
    return [len(file.read()) for file in files] or data


@pytest.fixture(scope="module")
def endpoint(put_once: Any) -> Any:
    return put_once([(model_type.PYTHON, same, {"pre": sizes})], "snippets")


def printed(command: list[str], folder: Path, server: Any) -> str:
    """Run a program that has the key in its environment; return what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PENSTOCK_KEY": server.keys["predict"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


DATA = ("application/json", b'["it\'s", "b"]')
FILES = (
    "multipart/form-data; boundary=x",
    b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n["a", "b"]\r\n'
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n123\r\n"
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="b.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n12345\r\n--x--\r\n",
)


#: What a page has from its `<input type="file">`, and the result as JSON.
CHOSEN = (
    "const {readFileSync} = require('fs');"
    "const input = {files: ['a.bin', 'b.bin'].map(n => new File([readFileSync(n)], n))};"
)
TOLD = "console.log(JSON.stringify((await answer.json()).result))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(b"123")
    (tmp_path / "b.bin").write_bytes(b"12345")
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize(("sent", "result"), [(DATA, ["it's", "b"]), (FILES, [3, 5])])
def test_the_call_with_curl_works(
    endpoint: Any, server: Any, folder: Path, sent: Any, result: Any
) -> None:
    shown = snippets(str(endpoint), sent, uses_files=True).curl
    assert server.keys["predict"] not in shown
    assert json.loads(printed(["sh", "-c", shown], folder, server))["result"] == result


@pytest.mark.parametrize(("sent", "result"), [(DATA, ["it's", "b"]), (FILES, [3, 5])])
def test_the_call_in_python_works(
    endpoint: Any, server: Any, folder: Path, sent: Any, result: Any
) -> None:
    pytest.importorskip("requests")
    shown = snippets(str(endpoint), sent, uses_files=True).python
    assert printed([sys.executable, "-c", shown], folder, server) == str(result)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
@pytest.mark.parametrize(("sent", "result"), [(DATA, ["it's", "b"]), (FILES, [3, 5])])
def test_the_call_in_javascript_works(
    endpoint: Any, server: Any, folder: Path, sent: Any, result: Any
) -> None:
    shown = snippets(str(endpoint), sent, uses_files=True).javascript
    before = CHOSEN if sent is FILES else ""
    asked = shown.replace("console.log((await answer.json()).result)", TOLD)
    assert asked != shown
    program = f"(async () => {{{before}\n{asked}\n}})()"
    assert json.loads(printed(["node", "-e", program], folder, server)) == result
