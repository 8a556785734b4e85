"""An index of one's own beside PyPI, with a password, as operators name it in the settings."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock import deploy, model_type
from penstock.core.errors import EnvironmentFailed

USER, PASSWORD = "builder", "pw-" + "7f3" * 6
WANTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Index(http.server.ThreadingHTTPServer):
    """A simple index (PEP 503) of a folder of wheels, for who has the password."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.refused = 0

    def address(self, password: str = PASSWORD) -> str:
        return f"http://{USER}:{password}@127.0.0.1:{self.server_port}/simple"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.headers["Authorization"] != WANTED:
            self.server.refused += 1
            self._answer(401, b"", [("WWW-Authenticate", 'Basic realm="index"')])
            return
        part = self.path.strip("/").rpartition("/")[2]
        wheels = {w.name: w.read_bytes() for w in self.server.folder.glob("*.whl")}
        if part in wheels:
            self._answer(200, wheels[part])
            return
        links = [
            f'<a href="/files/{name}#sha256={hashlib.sha256(content).hexdigest()}">{name}</a>'
            for name, content in wheels.items()
            if name.startswith(part.replace("-", "_") + "-")
        ]
        page = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
        self._answer(200 if links else 404, page.encode(), [("Content-Type", "text/html")])

    def _answer(self, status: int, body: bytes, headers: Any = ()) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index with a package of ours, and with a name that PyPI has in newer versions."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for module, version in (("penstock_of_ours", "1.5"), ("colorama", "0.0.1")):
        info = f"{module}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{module}.py", f"VERSION = {version!r}\n")
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n"
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", f"{module}.py,,\n{info}/METADATA,,\n")
    with Index(folder) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def versions(data: Any) -> Any:
    import colorama
    import penstock_of_ours

    return {"ours": penstock_of_ours.VERSION, "both": colorama.VERSION}


def ask(server: Any) -> Any:
    return deploy(
        [(model_type.PYTHON, versions)], "private", server.keys["deploy"], server=server.url,
        requirements=["penstock-of-ours", "colorama"],
    )  # fmt: skip


def test_an_index_of_ones_own_is_asked_first_and_its_password_is_shown_nowhere(
    start_server: Callable[..., Any],
    package_cache: Path,
    index: Index,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = start_server(
        environment={
            "PENSTOCK_PACKAGE_CACHE": str(package_cache),
            "PENSTOCK_PACKAGE_EXTRA_INDEXES": index.address(),
        }
    )
    # PyPI has newer ones of the second: what is ours is never taken from elsewhere.
    assert ask(server).predict([]) == {"ours": "1.5", "both": "0.0.1"}
    admin = {"Authorization": server.keys["admin"]}
    told = [
        capsys.readouterr().out,
        server.log,
        httpx2.get(f"{server.url}/v1/environments", headers=admin).text,
        *[path.read_text() for path in (server.data / "environments").glob("*/*.json")],
        *[path.read_text() for path in (server.data / "environments").glob("*/*.txt")],
    ]
    assert "+ penstock-of-ours==1.5" in told[0]
    assert len(told) > 3
    assert all(PASSWORD not in text for text in told)


def test_a_wrong_password_is_a_failed_build_that_names_the_index_and_not_the_password(
    start_server: Callable[..., Any], package_cache: Path, index: Index
) -> None:
    wrong = "pw-" + "000" * 6
    server = start_server(
        environment={
            "PENSTOCK_PACKAGE_CACHE": str(package_cache),
            "PENSTOCK_PACKAGE_EXTRA_INDEXES": index.address(wrong),
        }
    )
    with pytest.raises(EnvironmentFailed) as caught:
        ask(server)
    text = f"{caught.value} {caught.value.hint}"
    assert index.refused
    assert f"127.0.0.1:{index.server_port}" in text
    assert "401" in text
    assert "PENSTOCK_PACKAGE_EXTRA_INDEXES" in text
    assert wrong not in text + server.log
