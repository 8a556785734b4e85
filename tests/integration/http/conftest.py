"""A gateway on a real port with a pool that answers in the same process, and raw sockets to it."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from penstock.codec.frames import ACCEPT_NPY, MEDIA_JSON, MEDIA_NPY, SHOW_TRACEBACK
from penstock.control.predict import Predictor
from penstock.core.errors import DeadlineExceeded, Overloaded, Unauthorized, WorkerDied
from penstock.core.records import KeyRecord, Scope
from penstock.engine.base import Answer, Call, VersionKey
from penstock.server.gateway.limits import Limits
from penstock.server.gateway.listen import Gateway
from penstock.server.gateway.route import predict_endpoint

PATIENCE_S = 60.0


def _load_corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("corpus", Path(__file__).with_name("corpus.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CORPUS = _load_corpus()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in ("PARITY", "MALFORMED", "MALFORMED_CHUNKS"):
        if name.lower() in metafunc.fixturenames:
            cases = getattr(CORPUS, name)
            metafunc.parametrize(name.lower(), cases.values(), ids=cases.keys())


@pytest.fixture(scope="session")
def corpus() -> ModuleType:
    return CORPUS


def _record(scope: Scope, project: str) -> KeyRecord:
    return KeyRecord(
        f"{scope}-{project}", b"", f"pk_{scope.value[0]}_01234567", scope, project, "", 0
    )


_KEYS = {
    b"pk_p_01234567_predict": _record(Scope.PREDICT, "default"),
    b"pk_d_01234567_deploy": _record(Scope.DEPLOY, "default"),
    b"pk_r_01234567_read": _record(Scope.READ, "default"),
    b"pk_p_01234567_elsewhere": _record(Scope.PREDICT, "elsewhere"),
}


def check_key(authorization: bytes) -> KeyRecord:
    record = _KEYS.get(authorization.removeprefix(b"Bearer "))
    if record is None:
        raise Unauthorized("The API key is missing or unknown.")
    return record


class Pool:
    """Answers a call with what it was given. Bodies that begin with `hold` wait for `release`."""

    key = VersionKey("default", "echo", 1)

    def __init__(self) -> None:
        self.held: list[Call] = []
        self.cancelled: list[Call] = []
        self.files: list[bool] = []
        self.arrived = threading.Condition()

    def submit(self, call: Call) -> None:
        body = self._read(call)
        call.state = body
        if body.startswith(b"hold"):
            with self.arrived:
                self.held.append(call)
                self.arrived.notify_all()
        elif body == b"overloaded":
            call.on_done(call, self._answer(call))
        else:
            asyncio.get_running_loop().call_soon(lambda: call.on_done(call, self._answer(call)))

    def cancel(self, call: Call) -> None:
        with self.arrived:
            self.cancelled.append(call)
            self.arrived.notify_all()

    def _read(self, call: Call) -> bytes:
        self.files.append(call.body.fd >= 0)
        if call.body.fd < 0:
            return bytes(call.body.data)
        try:
            body = os.pread(call.body.fd, call.body.size, 0)
            assert len(body) == call.body.size
            return body
        finally:
            os.close(call.body.fd)
            call.body.give_back()

    def _answer(self, call: Call) -> Answer:
        body = call.state
        if body == b"fail":
            shown = "traceback" if call.flags & SHOW_TRACEBACK else "no traceback"
            told = {"error": {"code": "function_failed", "message": shown}, "run_id": call.run_id}
            return Answer("function_failed", MEDIA_JSON, b"pre;dur=1.0", json.dumps(told).encode())
        errors = {
            b"died": WorkerDied("The worker died.", stage=1, traceback="Traceback: user code"),
            b"overloaded": Overloaded("The queue is full.", retry_after_s=2.2),
            b"late": DeadlineExceeded("The call took too long."),
        }
        if body in errors:
            return Answer(errors[body].code, error=errors[body])
        if body == b"large":
            return Answer(body=memoryview(b"L" * 3_000_000))
        seen = [call.media_type.decode(), len(body), hashlib.sha256(body).hexdigest()]
        media = MEDIA_NPY if call.flags & ACCEPT_NPY else MEDIA_JSON
        told = json.dumps({"result": seen, "run_id": call.run_id}).encode()
        timing = b"" if body == b"untimed" else b"queue;dur=0.1, model_1;dur=0.2"
        return Answer("", media, timing, told)

    def wait_for(self, ready: Callable[[], bool]) -> None:
        with self.arrived:
            assert self.arrived.wait_for(ready, PATIENCE_S)


class App:
    """What the real application is to the gateway, small."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        predict = predict_endpoint(predictor, self._wake, limits)
        self.predictor = predictor
        self.pool: Any = None
        self.disconnects = threading.Event()
        self.app = Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/smuggled", self._health),
                Route("/upload", self._upload, methods=["PUT"]),
                Route("/refuse", self._refuse, methods=["PUT"]),
                Route("/lines", self._lines),
                Route("/v1/{project}/{name}/predict", predict, methods=["POST"]),
                Route(
                    "/v1/{project}/{name}/versions/{number:int}/predict", predict, methods=["POST"]
                ),
            ]
        )

    async def _wake(self, project: str, name: str, number: int) -> None:
        if number == 7:
            self.predictor.set_route(project, name, number, self.pool, 10.0)

    async def _health(self, _request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    async def _upload(self, request: Request) -> PlainTextResponse:
        digest = hashlib.sha256()
        try:
            async for piece in request.stream():
                digest.update(piece)
        except ClientDisconnect:
            self.disconnects.set()
            raise
        return PlainTextResponse(digest.hexdigest())

    async def _refuse(self, _request: Request) -> PlainTextResponse:
        return PlainTextResponse("no", 403)

    async def _lines(self, _request: Request) -> StreamingResponse:
        async def lines() -> Any:
            for number in range(3):
                yield f"{number}\n"

        return StreamingResponse(lines())


class Reply(NamedTuple):
    """One answer as read from the socket."""

    status: int
    fields: dict[str, str]
    body: bytes
    raw: bytes

    def masked(self) -> bytes:
        """The bytes with ids and times taken out."""
        raw = re.sub(
            rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", b"ID", self.raw
        )
        return re.sub(rb"date: [^\r]+", b"date: D", raw)

    def error(self) -> str:
        code: str = json.loads(self.body)["error"]["code"]
        return code


class Client:
    """A raw connection; its kernel takes `receive_bytes` of answers that are not read."""

    def __init__(self, port: int, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def send(self, data: bytes) -> Client:
        self.socket.sendall(data)
        return self

    def _more(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError(self._rest)
        self._rest += data

    def read(self, *, head_only: bool = False) -> Reply:
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        status = int(lines[0].split(" ")[1])
        body = b""
        if fields.get("transfer-encoding") == "chunked":
            while not self._rest.endswith(b"0\r\n\r\n"):
                self._more()
            body, self._rest = self._rest, b""
        elif not head_only and status >= 200:
            size = int(fields["content-length"])
            while len(self._rest) < size:
                self._more()
            body, self._rest = self._rest[:size], self._rest[size:]
        return Reply(status, fields, body, head + b"\r\n\r\n" + body)

    def ask(self, data: bytes) -> Reply:
        return self.send(data).read()

    def is_closed(self) -> bool:
        """Whether the server closes, with nothing more to read; waits for it."""
        try:
            return not self._rest and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


class Front:
    """The gateway, its loop in a thread, and a clock that tests move."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, max_body: int) -> None:
        self.loop = loop
        self.time = 1000.0
        self.pool = Pool()
        self.predictor = Predictor(check_key, max_body=max_body)
        self.predictor.set_route("default", "echo", None, self.pool, 10.0)
        self.predictor.set_route("default", "echo", 1, self.pool, 10.0)
        self.predictor.set_starting("default", "starting")
        self.app = App(self.predictor, limits)
        self.app.pool = self.pool
        self.limits = limits
        self.gateway: Gateway
        self.clients: list[Client] = []
        self.defects: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: self.defects.append(context))
        self._thread = threading.Thread(target=loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self._begin())

    async def _begin(self) -> None:
        self.gateway = Gateway(self.predictor, self.app.app, self.limits, lambda: self.time)
        await self.gateway.listen(host="127.0.0.1", port=0)

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def submit(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def connect(self, receive_bytes: int = 0) -> Client:
        client = Client(self.gateway.port, receive_bytes)
        self.clients.append(client)
        return client

    def ask(self, data: bytes) -> Reply:
        return self.connect().ask(data)

    def pass_time(self, seconds: float) -> None:
        """Move the clock and let the gateway look at its deadlines."""
        self.time += seconds

        async def sweep() -> None:
            self.gateway.sweep()

        self.call(sweep())

    def settle(self, client: Client) -> None:
        """Return when the server has read everything that `client` has sent."""
        probe = self.connect()
        assert probe.ask(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").status == 200
        assert probe.ask(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").status == 200
        probe.close()

    def release(self, index: int = 0) -> None:
        """Answer a held call."""
        call = self.pool.held.pop(index)

        async def answer() -> None:
            call.on_done(call, self.pool._answer(call))

        self.call(answer())

    def connections(self) -> int:
        async def count() -> int:
            return len(self.gateway.connections)

        return int(self.call(count()))

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.call(self.gateway.close(2.0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()
        assert not self.defects


@pytest.fixture(params=["uvloop", "asyncio"])
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    limits = getattr(request.function, "limits", Limits())
    front = Front(loop, limits, max_body=1_000_000)
    yield front
    front.stop()
