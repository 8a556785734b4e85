"""Browsers and the network between: pages, cookies, other sites, HTTPS, a proxy in front."""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import certificates
import httpx2
import pytest
from cryptography import x509
from ports import free_port

from penstock import deploy, model_type

HTTPS_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "https.md"


def same(value: Any) -> Any:
    return value


FLOW = [(model_type.PYTHON, same)]

PAGES = ("/", "/sign-in", "/no-such-page", "/penstock.css")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Iterator[Any]:
    live = launch_server(tmp_path_factory.mktemp("web") / "data")
    yield live
    live.stop()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_keeps_out_of_frames_and_runs_no_foreign_script(plain: Any, path: str) -> None:
    headers = httpx2.get(plain.url + path).headers
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in {"no-referrer", "same-origin"}  # forms need the latter
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_answers_of_the_api_cannot_be_used_as_pages(plain: Any) -> None:
    headers = httpx2.get(f"{plain.url}/v1/openapi.json").headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"


def sign_in(server: Any, **headers: str) -> httpx2.Response:
    form = {"key": server.keys["deploy"]}
    return httpx2.post(
        f"{server.url}/sign-in", data=form, headers=headers, follow_redirects=False, verify=False
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=lambda h: next(iter(h.values())),
)
def test_a_form_of_another_site_is_refused(plain: Any, headers: dict[str, str]) -> None:
    answer = sign_in(plain, **headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_form_of_this_site_is_taken_and_its_cookie_is_guarded(plain: Any) -> None:
    answer = sign_in(plain, **{"Origin": plain.url, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie  # plain HTTP: a browser would not keep it


def test_a_cookie_alone_changes_nothing_when_another_site_sends_the_request(plain: Any) -> None:
    cookie = sign_in(plain).headers["set-cookie"].partition(";")[0]
    for method, path in (("POST", "/v1/projects"), ("DELETE", "/v1/default/anything")):
        answer = httpx2.request(
            method, plain.url + path, headers={"Cookie": cookie, "Origin": "https://evil.example"}
        )
        assert answer.status_code == 403, (method, path)


def test_pages_of_a_local_server_have_its_own_names_only(plain: Any) -> None:
    port = plain.url.rpartition(":")[2]
    shown = {f"127.0.0.1:{port}", f"localhost:{port}", "localhost", socket.gethostname()}
    for host in shown:
        assert httpx2.get(plain.url, headers={"Host": host}).status_code == 200, host
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost."):
        assert httpx2.get(plain.url, headers={"Host": host}).status_code == 403, host
    # A program says which server it means by its key: any name will do.
    assert httpx2.get(f"{plain.url}/healthz", headers={"Host": "models.internal"}).is_success


def test_named_hosts_hold_for_every_request(tmp_path: Path, start_server: Any) -> None:
    server = start_server(environment={"PENSTOCK_ALLOWED_HOSTS": "models.example.org"})
    deploy(FLOW, "echo", server.keys["deploy"], server=server.url, quiet=True)
    predict = f"{server.url}/v1/default/echo/predict"
    key = {"Authorization": server.keys["predict"]}
    for host, status in (("models.example.org", 200), ("127.0.0.1", 200), ("evil.example", 400)):
        headers = {**key, "Host": host}
        assert httpx2.post(predict, json=[1], headers=headers).status_code == status, host
        assert httpx2.get(f"{server.url}/healthz", headers=headers).status_code == status, host


def test_other_origins_may_not_call_unless_the_operator_names_them(
    plain: Any, start_server: Any
) -> None:
    asks = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    url = "/v1/default/echo/predict"
    silent = httpx2.options(plain.url + url, headers=asks)
    assert "access-control-allow-origin" not in silent.headers

    server = start_server(environment={"PENSTOCK_CORS_ORIGINS": "https://app.example.org"})
    deploy(FLOW, "echo", server.keys["deploy"], server=server.url, quiet=True)
    ready = httpx2.options(server.url + url, headers=asks)
    assert (ready.status_code, ready.headers["access-control-allow-origin"]) == (
        204,
        "https://app.example.org",
    )
    assert "authorization" in ready.headers["access-control-allow-headers"]
    calls = {"Origin": "https://app.example.org", "Authorization": server.keys["predict"]}
    answer = httpx2.post(server.url + url, json=[1], headers=calls)
    assert (answer.json()["result"], answer.headers["access-control-allow-origin"]) == (
        [1],
        "https://app.example.org",
    )
    assert "access-control-allow-credentials" not in answer.headers
    strange = httpx2.post(
        server.url + url, json=[1], headers={**calls, "Origin": "https://evil.example"}
    )
    assert "access-control-allow-origin" not in strange.headers
    assert "access-control-allow-origin" not in httpx2.get(server.url, headers=calls).headers


# --- HTTPS ---


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> certificates.Pair:
    """The certificate that `secure` was started with."""
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(
    pair: certificates.Pair, tmp_path_factory: pytest.TempPathFactory, launch_server: Any
) -> Iterator[Any]:
    options = {"PENSTOCK_TLS_CERT": str(pair.cert), "PENSTOCK_TLS_KEY": str(pair.key)}
    live = launch_server(tmp_path_factory.mktemp("secure") / "data", options)
    yield live
    live.stop()


def trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


def test_everything_is_served_by_https(
    secure: Any, pair: certificates.Pair, monkeypatch: Any
) -> None:
    assert secure.url.startswith("https://")
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.cert))
    endpoint = deploy(FLOW, "echo", secure.keys["deploy"], server=secure.url, quiet=True)
    assert endpoint.predict([1, 2]) == [1, 2]
    with httpx2.Client(
        verify=trusting(pair.cert), headers={"Authorization": secure.keys["predict"]}
    ) as client:
        large = ["x" * 1000] * 2000  # 2 MB: travels as a memory file
        for data in ([1], large, [2]):
            answer = client.post(str(endpoint), json=data)
            assert answer.json()["result"] == data
        assert client.get(f"{secure.url}/healthz").headers["strict-transport-security"]
    assert "; secure" in sign_in(secure).headers["set-cookie"].lower()


def test_old_tls_and_plain_http_are_refused(secure: Any) -> None:
    port = int(secure.url.rpartition(":")[2])
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(OSError):
        old.wrap_socket(sock)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not sock.recv(100).startswith(b"HTTP/")
    assert httpx2.get(f"{secure.url}/healthz", verify=False).is_success


def serial_shown(port: int) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_a_renewed_certificate_is_taken_without_a_restart(
    secure: Any, pair: certificates.Pair
) -> None:
    port = int(secure.url.rpartition(":")[2])
    renewed = certificates.make(pair.cert.parent)
    assert serial_shown(port) != renewed.serial
    secure.signal(signal.SIGHUP)
    secure.wait_for(lambda s: "The certificate was read again." in s.log)
    assert serial_shown(port) == renewed.serial
    good = pair.cert.read_text()
    pair.cert.write_text("rubbish")
    secure.signal(signal.SIGHUP)
    secure.wait_for(lambda s: "The certificate stays as it is" in s.log)
    pair.cert.write_text(good)  # for the tests that share the server
    assert serial_shown(port) == renewed.serial


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tls_cert": "cert.pem"}, "--tls-key is missing"),
        ({"tls_cert": "cert.pem", "tls_key": "gone.pem"}, "There is no file"),
        ({"tls_cert": "cert.pem", "tls_key": "cert.pem"}, "cannot be used"),
        ({"tls_cert": "cert.pem", "tls_key": "key.pem", "gateways": 2}, "do not speak HTTPS"),
    ],
    ids=["no-key", "gone", "not-a-key", "gateways"],
)
def test_https_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    import sys

    certificates.make(tmp_path)
    arguments = [
        f"--{k.replace('_', '-')}={tmp_path / v if isinstance(v, str) else v}"
        for k, v in options.items()
    ]
    command = [sys.executable, "-m", "penstock.cli.main", "serve", "--port=0", *arguments]
    done = subprocess.run(
        [*command, f"--data={tmp_path / 'data'}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert said in " ".join((done.stdout + done.stderr).split())


# --- nginx ---

NGINX = shutil.which("nginx") or ""


class Proxied(NamedTuple):
    """A server behind nginx, the address of nginx, and its certificate."""

    server: Any
    url: str
    cert: Path


@pytest.fixture(scope="module")
def proxied(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A server behind nginx, with the very configuration of the documentation."""
    folder = tmp_path_factory.mktemp("nginx")
    deploy(FLOW, "echo", plain.keys["deploy"], server=plain.url, quiet=True)
    text = HTTPS_PAGE.read_text().partition("<!-- nginx -->")[2]
    block = text.partition("```nginx\n")[2].partition("```")[0]
    port = free_port()
    pair = certificates.make(folder, "models.example.org")
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/models/fullchain.pem", str(pair.cert)),
        ("/etc/ssl/models/key.pem", str(pair.key)),
        ("http://127.0.0.1:8700", plain.url),
    ):
        assert old in block
        block = block.replace(old, new)
    places = "".join(
        f"{what}_temp_path {folder}/{what};"
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; user root; pid {folder}/pid;"
        f"error_log {folder}/error.log;"
        f"events {{ worker_connections 256; }} http {{ access_log off; {places} {block} }}"
    )
    process = subprocess.Popen(
        [NGINX, "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield Proxied(plain, f"https://127.0.0.1:{port}", pair.cert)
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_documented_nginx_serves_a_deployment(proxied: Proxied) -> None:
    headers = {"Authorization": proxied.server.keys["predict"]}
    predict = f"{proxied.url}/v1/default/echo/predict"
    with httpx2.Client(verify=trusting(proxied.cert), headers=headers) as client:
        for data in ([1], ["x" * 1000] * 2000, [3]):
            assert client.post(predict, json=data).json()["result"] == data
        assert client.post(predict, content=b"x" * (65 << 20)).status_code == 413
        files = client.post(predict, files={"files": ("a.txt", b"abc")})
        assert files.status_code == 422  # the flow takes no files: it was understood


#: Requests that two readers may take for different ones.
SMUGGLED = [
    b"POST /v1/default/echo/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
]


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("number", range(len(SMUGGLED)))
def test_no_request_is_smuggled_through_nginx(proxied: Proxied, number: int) -> None:
    host, _, port = proxied.url.removeprefix("https://").partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as raw,
        trusting(proxied.cert).wrap_socket(raw, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(SMUGGLED[number])
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    found = re.findall(rb"HTTP/1\.1 (\d{3})", answer)
    assert len(found) == 1, answer
    assert 400 <= int(found[0]) < 600, answer


#: After so many seconds without a byte nginx is taken to wait. What comes later is not lost on the
#: test: the next client would be answered with it.
WAITS_S = 0.5


def ambiguous() -> dict[str, bytes]:
    """Return every request of the corpus that the server itself refuses."""
    place = Path(__file__).parent / "http" / "corpus.py"
    spec = importlib.util.spec_from_file_location("smuggling_corpus", place)
    assert spec is not None
    assert spec.loader is not None
    corpus = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(corpus)
    return {**corpus.MALFORMED, **corpus.MALFORMED_CHUNKS}


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_ambiguous_request_through_nginx_changes_the_answer_of_another_client(
    proxied: Proxied,
) -> None:
    host, _, port = proxied.url.removeprefix("https://").partition(":")
    headers = {"Authorization": proxied.server.keys["predict"]}
    requests = ambiguous()
    assert len(requests) >= 50
    trusted = trusting(proxied.cert)
    with httpx2.Client(verify=trusted, headers=headers) as client:
        for number, (name, request) in enumerate(requests.items()):
            with (
                socket.create_connection((host, int(port)), timeout=20) as raw,
                trusted.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
            ):
                sock.sendall(request)
                sock.settimeout(WAITS_S)
                answer = b""
                try:
                    while piece := sock.recv(65536):
                        answer += piece
                except TimeoutError:  # nginx waits for more of it, or for the next request
                    pass
            found = re.findall(rb"HTTP/1\.1 (\d{3})", answer)
            assert len(found) <= 2, (name, answer)
            # The connection that nginx holds to the server is used by the next client.
            for attempt in range(3):
                sent = [number, attempt]
                told = client.post(f"{proxied.url}/v1/default/echo/predict", json=sent)
                assert (told.status_code, told.json().get("result")) == (200, sent), name


def test_a_session_that_was_signed_out_of_stays_ended_over_a_restart(start_server, tmp_path):
    server = start_server(data=tmp_path / "d")
    cookies = {}
    for name in ("left", "stays"):
        form = {"key": server.keys["deploy"]}
        cookies[name] = httpx2.post(f"{server.url}/sign-in", data=form).cookies["penstock_session"]

    def page(of: str) -> str:
        headers = {"Cookie": f"penstock_session={cookies[of]}"}
        return httpx2.get(f"{server.url}/p/default", headers=headers).text

    assert "Sign out" in page("left")
    httpx2.post(f"{server.url}/sign-out", headers={"Cookie": f"penstock_session={cookies['left']}"})
    assert "Sign out" not in page("left")
    server.stop()
    server = start_server(data=tmp_path / "d")
    assert "Sign out" in page("stays")
    assert "Sign out" not in page("left")
