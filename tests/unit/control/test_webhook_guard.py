"""No webhook reaches what is not public, however its URL is written and whatever names resolve to.

A canary listens on the loopback address; every refused URL would lead to it. Nothing here leaves
the machine: look-ups are answered here, and so are connections to public addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import shutil
import socket
import ssl
import subprocess

import httpx2
import pytest

from penstock.control.addresses import Allowance, is_public
from penstock.control.outgoing import Outgoing
from penstock.control.webhook_urls import check_url, read_url
from penstock.core.errors import InvalidSetting, InvalidWebhookUrl

PUBLIC = "93.184.215.14"

CLOSED_V4 = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "127.0.0.1",
    "127.0.0.53",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]

CLOSED_V6 = [
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff05::2",
]

#: Each stands for an IPv4 address in an IPv6 one.
CARRIERS = ["::ffff:{0}", "64:ff9b::{0}", "2002:{1}::1"]

#: Written so that some program somewhere takes it for an address that is not public.
ODD_HOSTS = [
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.1",
    "00.0.0.0",
    "0",
    "0x0",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7F.1",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.1.",
    "127.0.0.01",
    "127.00.0.1",
    "0000000127.0.0.1",
    "127.0.0.0x1",
    "127.0.0.1e0",
    "169.254.43518",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "3232235521",
    "0xc0a80001",
    "192.168.257",
    "10.1",
    "256.0.0.1",
    "4294967296",
    "1.2.3.4.5",
    "１２７.０.０.１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127．0．0．1",
    "127.0.0.1\u3002",
    "０x7f.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "evil.localhost",
    "a.b.localhost.",
    "127.0.0.1.nip.example",
    "metadata.internal",
    "intranet",
    "rebind.example",
    "xn--nxasmq6b.example",
    "bücher.example",
    "münchen.intern",
    "127.0.0.1%00.example",
    "127.0.0.1%2eexample",
    "%31%32%37.0.0.1",
    "127.0.0.1%20",
    "exa mple.com",
    "example.com\t",
    "example.com\\",
    "example..com",
    ".example.com",
    "-",
    "-a.example",
    "a" * 64 + ".example",
    ".".join(["a" * 60] * 5),
    "*.example",
    "exam\u200bple.com\u0000",
    "[::1",
    "::1]",
    "[::1]x",
    "[]",
    "[::1%25lo]",
    "[fe80::1%eth0]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0x7f.1]",
    "[127.0.0.1]",
    "[v1.127.0.0.1]",
    "[::1]]",
    "::1",
    "0:0:0:0:0:0:0:1",
]

#: Whole URLs; {port} is the canary's.
ODD_URLS = [
    "",
    " ",
    "http:",
    "http:/",
    "http://",
    "http:///",
    "http://:{port}/",
    "//127.0.0.1:{port}/",
    "/127.0.0.1",
    "127.0.0.1:{port}",
    "example.com",
    "http:127.0.0.1:{port}",
    "http:/127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http://\\127.0.0.1:{port}/",
    "https:/\\127.0.0.1:{port}/",
    " http://127.0.0.1:{port}/",
    "http ://127.0.0.1:{port}/",
    "ht\ntp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\r\nHost: x",
    "http://example.com/\r\nX: y",
    "http://example.com/ space",
    "http://example.com/ümlaut",
    "http://example.com/%zz",
    "http://example.com/#fragment",
    "http://example.com#@127.0.0.1:{port}/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://user:word@example.com/",
    "http://@example.com/",
    "http://:@example.com/",
    "http://example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com/",
    "http://a@b@127.0.0.1:{port}/",
    "http://example.com%40127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://example.com:/",
    "http://example.com:0/",
    "http://example.com:00080/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:+80/",
    "http://example.com:8o/",
    "http://example.com:999999/",
    "http://example.com: 80/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://93.184.215.14:22/",
    "http://93.184.215.14:445/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "dict://127.0.0.1:{port}/x",
    "ldap://127.0.0.1:{port}/",
    "jar:http://127.0.0.1:{port}!/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "unix:///var/run/x.sock",
    "http+unix://%2Fvar%2Frun%2Fx.sock/",
    "ws://127.0.0.1:{port}/",
    "httpx://127.0.0.1:{port}/",
    "http://" + "a" * 2100,
]


def corpus(port: int) -> list[str]:
    hosts = [*CLOSED_V4, *ODD_HOSTS, *(f"[{text}]" for text in CLOSED_V6)]
    for four in CLOSED_V4[::3]:
        groups = ipaddress.IPv4Address(four).packed.hex()
        hexed = f"{groups[:4]}:{groups[4:]}"
        hosts += [f"[{carrier.format(four, hexed)}]" for carrier in CARRIERS]
    urls = [f"http://{host}:{port}/" for host in hosts]
    return [*urls, *(url.replace("{port}", str(port)) for url in ODD_URLS)]


class Canary:
    """A listener that counts who comes."""

    def __init__(self) -> None:
        self.hits = 0
        self.heads: list[bytes] = []
        self.answer = b"HTTP/1.1 204 No Content\r\n\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def canary(tls: ssl.SSLContext | None = None):
    bird = Canary()
    server = await asyncio.start_server(bird.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        bird.port = server.sockets[0].getsockname()[1]
        yield bird


class Public(httpx2.AsyncBaseTransport):
    """Stands for the internet: answers for public addresses, connects to any other for real."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self._real = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if is_public(ipaddress.ip_address(request.url.host)):
            self.reached.append(request.url.host)
            return httpx2.Response(204)
        return await self._real.handle_async_request(request)

    async def aclose(self) -> None:
        await self._real.aclose()


def run(story) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


async def careless_look_up(host: str, port: int) -> list[str]:
    """Resolve as the most careless resolver does: anything like a number is one, all else here."""
    with contextlib.suppress(OSError):
        return [socket.inet_ntoa(socket.inet_aton(host))]
    return ["127.0.0.1"]


def test_the_corpus_has_two_hundred_urls() -> None:
    assert len(set(corpus(8080))) >= 200


def test_no_url_of_the_corpus_reaches_the_canary_and_each_is_refused() -> None:
    async def story() -> None:
        async with canary() as bird:
            outgoing = Outgoing(Allowance(), look_up=careless_look_up, transport=Public())
            taken = []
            for url in corpus(bird.port):
                with contextlib.suppress(InvalidWebhookUrl):
                    outcome = await outgoing.post(read_url(check_url(url)), {}, b"{}")
                    if outcome.status is not None or "does not call" not in outcome.error:
                        taken.append((url, outcome))
            assert taken == []
            assert bird.hits == 0
            await outgoing.close()

    run(story)


def test_the_canary_is_reached_where_the_operator_allows_it() -> None:
    async def story() -> None:
        async with canary() as bird:
            allowed = Allowance(f"127.0.0.1:{bird.port}")
            outgoing = Outgoing(allowed, look_up=careless_look_up)
            for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "rebind.example"):
                url = check_url(f"http://{host}:{bird.port}/x?y=z", allowed)
                assert (await outgoing.post(read_url(url), {"A": "b"}, b"{}")).status == 204
            assert bird.hits == 3
            assert bird.heads[-1].startswith(b"POST /x?y=z HTTP/1.1\r\n")
            assert f"host: rebind.example:{bird.port}\r\n".encode() in bird.heads[-1].lower()
            await outgoing.close()

    run(story)


def test_a_name_that_changes_its_mind_never_reaches_the_canary() -> None:
    async def story() -> None:
        async with canary() as bird:
            looked_up = []

            async def flip(host: str, port: int) -> list[str]:
                looked_up.append(host)
                return [PUBLIC] if len(looked_up) % 2 else ["127.0.0.1"]

            internet = Public()
            outgoing = Outgoing(Allowance(), look_up=flip, transport=internet)
            url = read_url(f"http://rebind.example:{bird.port}/")
            outcomes = [await outgoing.post(url, {}, b"{}") for _ in range(1000)]
            assert len(looked_up) == 1000, "exactly one look-up per attempt"
            assert [o.status for o in outcomes] == [204, None] * 500
            assert internet.reached == [PUBLIC] * 500
            assert bird.hits == 0
            await outgoing.close()

    run(story)


def test_one_closed_address_among_public_ones_closes_the_name() -> None:
    async def story() -> None:
        async def both(host: str, port: int) -> list[str]:
            return [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "10.0.0.1"]

        internet = Public()
        outgoing = Outgoing(Allowance(), look_up=both, transport=internet)
        outcome = await outgoing.post(read_url("http://both.example/"), {}, b"{}")
        assert "both.example leads to 10.0.0.1 port 80" in outcome.error
        assert "webhook_allow" in outcome.error
        assert internet.reached == []

    run(story)


def test_the_next_address_is_tried_when_one_does_not_listen() -> None:
    async def story() -> None:
        async with canary() as bird:

            async def several(host: str, port: int) -> list[str]:
                return ["127.0.0.9", "127.0.0.1"]

            outgoing = Outgoing(Allowance("127.0.0.0/8"), look_up=several)
            url = read_url(f"http://several.example:{bird.port}/")
            assert (await outgoing.post(url, {}, b"{}")).status == 204
            await outgoing.close()

    run(story)


def test_a_redirect_is_not_followed_and_the_body_of_an_answer_is_not_read() -> None:
    async def story() -> None:
        async with canary() as bird:
            bird.answer = (
                f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{bird.port}/next\r\n"
                "Content-Length: 1000000000000\r\n\r\n"
            ).encode()
            outgoing = Outgoing(Allowance("127.0.0.1"))
            outcome = await outgoing.post(read_url(f"http://127.0.0.1:{bird.port}/"), {}, b"{}")
            assert (outcome.status, bird.hits) == (302, 1)
            await outgoing.close()

    run(story)


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch) -> None:
    async def story() -> None:
        async with canary() as proxy, canary() as bird:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            outgoing = Outgoing(Allowance("127.0.0.1"))
            url = read_url(f"http://127.0.0.1:{bird.port}/")
            assert (await outgoing.post(url, {}, b"{}")).status == 204
            assert (proxy.hits, bird.hits) == (0, 1)
            await outgoing.close()

    run(story)


def test_a_receiver_that_says_nothing_or_nonsense_is_an_outcome() -> None:
    async def story() -> None:
        async with canary() as bird:
            outgoing = Outgoing(Allowance("127.0.0.1"), timeout_s=0.2)
            url = read_url(f"http://127.0.0.1:{bird.port}/")
            bird.answer = b"SSH-2.0-hello\r\n\r\n"
            assert "could not be reached" in (await outgoing.post(url, {}, b"{}")).error
            bird.answer = b""
            assert "could not be reached" in (await outgoing.post(url, {}, b"{}")).error
        closed = await outgoing.post(url, {}, b"{}")
        assert "could not be reached" in closed.error
        deaf = socket.create_server(("127.0.0.1", 0))
        url = read_url(f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        assert "did not answer within 0.2 s" in (await outgoing.post(url, {}, b"{}")).error
        deaf.close()
        await outgoing.close()

    run(story)


def test_a_name_that_cannot_be_looked_up_is_an_outcome() -> None:
    async def story() -> None:
        async def fail(host: str, port: int) -> list[str]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        outgoing = Outgoing(Allowance(), look_up=fail)
        outcome = await outgoing.post(read_url("https://nowhere.example/"), {}, b"{}")
        assert outcome.error == (
            "nowhere.example could not be looked up: Name or service not known."
        )

    run(story)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate of this test")
    folder = tmp_path_factory.mktemp("certificate")
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    options = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=hooks.example -addext subjectAltName=DNS:hooks.example"
    )
    command = ["openssl", *options.split(), "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def test_tls_checks_the_name_though_the_connection_goes_to_an_address(certificate) -> None:
    async def story() -> None:
        cert, key = certificate
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(cert, key)
        names: list[str | None] = []
        serving.sni_callback = lambda _sock, name, _context: names.append(name)
        async with canary(serving) as bird:
            trusting = ssl.create_default_context(cafile=cert)
            outgoing = Outgoing(Allowance("127.0.0.1"), look_up=careless_look_up, tls=trusting)
            right = read_url(f"https://hooks.example:{bird.port}/")
            wrong = read_url(f"https://other.example:{bird.port}/")
            assert (await outgoing.post(right, {}, b"{}")).status == 204
            refused = await outgoing.post(wrong, {}, b"{}")
            assert refused.status is None
            assert "could not be reached" in refused.error
            assert names == ["hooks.example", "other.example"]
            assert len(bird.heads) == 1
            await outgoing.close()

    run(story)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/Hook?a=B&c=%C3%A9", "https://example.com/Hook?a=B&c=%C3%A9"),
        ("http://example.com:80?x", "http://example.com/?x"),
        ("http://example.com.:8080/a/../b", "http://example.com:8080/a/../b"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
        ("https://xn--bcher-kva.example/x", "https://xn--bcher-kva.example/x"),
        (f"http://{PUBLIC}/", f"http://{PUBLIC}/"),
        ("http://[2606:4700:0:0::1111]:8443/", "http://[2606:4700::1111]:8443/"),
        ("http://[64:ff9b::5db8:d70e]/", "http://[64:ff9b::5db8:d70e]/"),
        ("http://some_service.example-1.com/", "http://some_service.example-1.com/"),
    ],
)
def test_a_good_url_is_brought_into_its_plain_form(url: str, plain: str) -> None:
    assert check_url(url) == plain
    assert check_url(plain) == plain


@pytest.mark.parametrize("url", [None, 5, b"https://example.com/", ["https://example.com/"]])
def test_what_is_no_text_is_refused(url: object) -> None:
    with pytest.raises(InvalidWebhookUrl, match="is text, not a"):
        check_url(url)


def test_a_refusal_says_why_and_what_to_do() -> None:
    with pytest.raises(InvalidWebhookUrl) as refused:
        check_url("http://169.254.169.254/latest/meta-data")
    assert "169.254.169.254 port 80" in refused.value.message
    assert "webhook_allow" in refused.value.hint


@pytest.mark.parametrize(
    ("entries", "admitted", "refused"),
    [
        ("10.0.0.5", ["http://10.0.0.5:9000/"], ["http://10.0.0.6:9000/"]),
        ("10.0.0.0/8", ["http://10.9.9.9/", "http://10.0.0.1:22/"], ["http://11.0.0.1:22/"]),
        ("10.0.0.5:80", ["http://10.0.0.5/"], ["http://10.0.0.5:81/"]),
        ("[::1]:80 , fd00::/8", ["http://[::1]/", "http://[fd12::1]:5/"], ["http://[::1]:81/"]),
        ("[fd00::/8]:80", ["http://[fd12::1]/"], ["http://[fd12::1]:81/"]),
        ("127.0.0.1", ["http://localhost:99/", "http://[::ffff:127.0.0.1]/"], ["http://[::1]/"]),
        ("localhost:99", ["http://localhost:99/"], ["http://localhost:98/"]),
        (":25", [f"http://{PUBLIC}:25/"], [f"http://{PUBLIC}:26/", "http://10.0.0.1:25/"]),
        ("Hooks.Internal:25", ["http://hooks.internal:25/"], ["http://hooks.internal:26/"]),
    ],
)
def test_the_operator_may_allow_more(entries: str, admitted: list[str], refused: list[str]) -> None:
    allowed = Allowance(entries)
    for url in admitted:
        check_url(url, allowed)
    for url in refused:
        with pytest.raises(InvalidWebhookUrl):
            check_url(url, allowed)


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/99", "a b", "host:0", "host:99999", "127.1", "http://x"]
)
def test_an_entry_that_cannot_be_read_is_named(entry: str) -> None:
    with pytest.raises(InvalidSetting, match="webhook_allow has the entry"):
        Allowance(f"10.0.0.0/8,{entry}")
