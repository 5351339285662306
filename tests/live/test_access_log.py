"""The access log: one line for each request, whoever serves it and whatever application answers it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypercorn.config import Config

from tests.harness import Serve
from tests.live._inprocess import http, read_all, serving
from tests.live._server import running
from tests.live.test_server_websocket import client as websocket
from trivet import JSON, App, HTTPError, Request, Sink, Stream, WebSocket
from trivet.asgi import ACCESS, Message, Receive, Scope, Send
from trivet.server._access_log import AccessLog
from trivet.testing import WebSocketRefused

Lines = list[tuple[str, str, int, str, int]]


def lines_of(caplog: pytest.LogCaptureFixture) -> Lines:
    """Method, path, status, outcome and bytes of each line."""
    names = ("method", "path", "status", "outcome", "bytes")
    return [
        tuple(each.__dict__[name] for name in names)  # type: ignore[misc]
        for each in caplog.records
        if each.name == "trivet.access"
    ]


async def lines(caplog: pytest.LogCaptureFixture, count: int) -> Lines:
    """The lines, once there are `count`: some come after the client has its answer."""
    await until(lambda: len(lines_of(caplog)) >= count)
    return lines_of(caplog)


async def until(true: Callable[[], bool]) -> None:
    """Wait for a line; the assertion that follows shows what is missing."""
    with trio.move_on_after(20):
        while not true():  # noqa: ASYNC110 - a record sets no event
            await trio.sleep(0.005)


@pytest.fixture(autouse=True)
def enabled(caplog: pytest.LogCaptureFixture) -> None:
    """As a program enables it that configures `logging` itself."""
    caplog.set_level(logging.INFO, "trivet.access")


async def plain_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that knows nothing of trivet."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    name = scope["path"].rpartition("/")[2]
    if name == "early":
        raise KeyError
    headers = [(b"content-length", b"8")] if name != "stream" else []
    await send({"type": "http.response.start", "status": 203, "headers": headers})
    await send({"type": "http.response.body", "body": b"four", "more_body": True})
    if name == "late":
        raise KeyError
    if name == "stream":
        message = await receive()
        while message["type"] != "http.disconnect":
            message = await receive()
        return
    await send({"type": "http.response.body", "body": b"more"})


def application() -> App:
    app, inner = App(timeout=0.3), App()
    app.mount("/plain", plain_asgi)
    app.mount("/inner", inner)

    @inner.get("/{number}")
    @app.get("/items/{number}")
    async def item(number: int, request: Request) -> JSON[str]:
        return JSON("x" * number, headers={"x-id": request.id})

    @app.get("/failed")
    async def failed() -> None:
        raise HTTPError(409)

    @app.get("/deadline")
    async def deadline() -> None:
        await trio.sleep_forever()

    @app.get("/cut")
    async def cut() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("half")
            raise KeyError

        return Stream(feed)

    @app.get("/endless")
    async def endless() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("half")
            await trio.sleep_forever()

        return Stream(feed)

    @app.post("/upload")
    async def upload(body: dict[str, int]) -> dict[str, int]:
        return body

    return app


ANSWERED = [
    ("GET", "/items/3", 200, "returned", 5),
    ("HEAD", "/items/3", 200, "returned", 0),
    ("GET", "/inner/4", 200, "returned", 6),
    ("GET", "/plain/x", 203, "returned", 8),
    ("HEAD", "/plain/x", 203, "returned", 0),
]


@pytest.mark.parametrize("line", ANSWERED)
async def test_an_answer(serve: Serve, caplog: pytest.LogCaptureFixture, line: tuple[str, str, int, str, int]) -> None:
    """Of the application, of one of ours mounted in it, and of any other: one line, with what was answered."""
    async with serve(application()) as client:
        await client.request(line[0], line[1] + "?token=secret")
        assert await lines(caplog, 1) == [line]
    assert lines_of(caplog) == [line]
    assert "secret" not in caplog.text


async def test_each_outcome(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """What decided the response, or that nobody was there to take it."""
    async with serve(application()) as client:
        await client.get("/failed")
        await client.get("/nowhere")
        await client.get("/deadline")
        await client.post("/upload", content=b"{", headers={"content-type": "application/json"})
        assert [line[2:4] for line in await lines(caplog, 4)] == [
            (409, "failed"), (404, "failed"), (503, "deadline"), (400, "failed"),
        ]  # fmt: skip
        caplog.clear()
        for count, path in enumerate(("/endless", "/plain/stream"), start=1):
            async with client.open("GET", path) as exchange:
                await exchange.head()
                await exchange.receive()
                exchange.leave()
            await lines(caplog, count)
        assert lines_of(caplog) == [
            ("GET", "/endless", 499, "disconnected", 4),
            ("GET", "/plain/stream", 499, "disconnected", 4),
        ]


@pytest.mark.parametrize(("path", "status"), [("/cut", 200), ("/plain/late", 203), ("/plain/early", 500)])
async def test_what_fails(serve: Serve, caplog: pytest.LogCaptureFixture, path: str, status: int) -> None:
    """The status is the one that was sent; a response that is cut has failed all the same."""
    async with serve(application()) as client:
        with suppress(httpx.HTTPError, KeyError, BaseExceptionGroup):  # in memory, what is raised is the test's
            await client.get(path)
        (line,) = await lines(caplog, 1)
    assert line[2:4] == (status, "failed")
    assert len(lines_of(caplog)) == 1


async def test_the_id_is_the_one_that_the_application_shows(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """`request.id`, in a header, a problem's `instance` and the log of errors; of mounted ones too."""
    async with serve(application()) as client:
        ids = [(await client.get(path)).headers["x-id"] for path in ("/items/1", "/inner/1")]
        await lines(caplog, 2)
    records = [each.__dict__ for each in caplog.records if each.name == "trivet.access"]
    assert [each["request_id"] for each in records] == ids
    assert all(each["client"] == "127.0.0.1" for each in records)
    assert all(0 < each["time_to_head"] <= each["duration"] for each in records)


async def test_asgi_middleware_is_in_it(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """What it answers itself, and what it makes of the application's answer: the status is the client's."""

    def middleware(app: Any) -> Any:
        async def changed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            if scope["path"] == "/own":
                await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body"})
                return

            async def teapot(message: Message) -> None:
                await send({**message, "status": 418} if "status" in message else message)

            await app(dict(scope), receive, teapot)

        return changed

    app = application()
    app.wrap(middleware)
    async with serve(app) as client:
        await client.get("/own")
        await client.get("/items/1")
        found = await lines(caplog, 2)
    assert found == [("GET", "/own", 403, "returned", 0), ("GET", "/items/1", 418, "returned", 3)]


async def test_a_path_stays_in_its_place(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """As it was sent, and one word."""
    async with serve(application()) as client:
        await client.get("/a%0AGET%20/%1B[31m%2F")
        ((_, path, *_),) = await lines(caplog, 1)
    assert path.lower() in ("/a%0aget%20/%1b[31m%2f", "/a%0aget%20/%1b%5b31m%2f")


# The server alone -------------------------------------------------------------------------------------------------


async def test_any_application_has_a_line() -> None:
    """The server writes it, also where it answers in the application's place."""
    kept: list[logging.LogRecord] = []
    log = logging.Logger("own")
    log.addFilter(lambda record: kept.append(record) is not None)
    async with serving(plain_asgi, accesslog=log, server_names=["here"]) as served:
        for path, host in (("/x", "here"), ("/early", "here"), ("/late", "here"), ("/x", "elsewhere")):
            await served.request(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        await until(lambda: len(kept) == 4)
    assert [(each.__dict__["status"], each.__dict__["outcome"]) for each in kept] == [
        (203, "returned"), (500, "failed"), (203, "failed"), (404, "failed"),
    ]  # fmt: skip


async def test_a_drain_is_an_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """Of a request that the server had to answer itself when its time was over."""

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await trio.sleep_forever()

    async with serving(http(stuck), options={"drain_timeout": 0.05, "cleanup_grace": 0.05}) as served:
        stream = await served.connect()
        await stream.send_all(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.sleep(0.1)
        served.stop.set()
        body = (await read_all(stream)).partition(b"\r\n\r\n")[2]
        assert await lines(caplog, 1) == [("GET", "/x", 503, "drained", len(body))]
        assert body
        await stream.aclose()


async def test_a_websocket_is_one_line_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """101, and the bytes of its messages; one that is refused has the status of that."""

    refuses = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if refuses:
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "é"})
        await send({"type": "websocket.send", "bytes": b"123"})
        await send({"type": "websocket.close"})

    async with serving(http(app)) as served:
        async with websocket(served) as ws:
            for _ in range(4):
                await ws.next()
        (line,) = await lines(caplog, 1)
        assert line[2:] == (101, "returned", 5)
        refuses = True
        async with websocket(served) as ws:
            await ws.next()
        assert [each[2:4] for each in (await lines(caplog, 2))[1:]] == [(403, "returned")]


def sockets() -> App:
    app = App()
    app.mount("/plain", plain_socket)

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.websocket("/refused")
    async def refused(ws: WebSocket) -> None:
        raise HTTPError(409)

    @app.websocket("/fails")
    async def fails(ws: WebSocket) -> None:
        await ws.accept()
        raise HTTPError(409)

    @app.websocket("/waits", on_disconnect="cancel")
    async def waits(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep_forever()

    return app


async def plain_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that knows nothing of trivet."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await receive()
    if scope["path"].endswith("accepts"):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "é"})
    await send({"type": "websocket.close"})


async def test_a_websocket_has_a_line_under_every_server(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The application's own where the server knows nothing of it, and no second one where it does."""
    async with serve(sockets()) as client:
        async with client.websocket("/echo?token=secret") as ws:
            await ws.send("é")
            await ws.receive()
            await ws.send(b"123")
            await ws.receive()
        assert await lines(caplog, 1) == [("GET", "/echo", 101, "returned", 5)]
        async with client.websocket("/fails") as ws:
            await ws.wait_closed()
        assert (await lines(caplog, 2))[1:] == [("GET", "/fails", 101, "failed", 0)]
        async with client.websocket("/waits") as ws:
            ws.leave()
        assert (await lines(caplog, 3))[2:] == [("GET", "/waits", 499, "disconnected", 0)]
        async with client.websocket("/plain/accepts") as ws:
            await ws.wait_closed()
        assert (await lines(caplog, 4))[3:] == [("GET", "/plain/accepts", 101, "returned", 2)]
        for count, path in enumerate(("/refused", "/nowhere", "/plain/refuses"), start=5):
            with pytest.raises(WebSocketRefused):
                await client.websocket(path).__aenter__()
            await lines(caplog, count)
    assert [line[1:4] for line in lines_of(caplog)[4:]] == [
        ("/refused", 409, "failed"),
        ("/nowhere", 404, "failed"),
        ("/plain/refuses", 403, "returned"),
    ]
    assert "secret" not in caplog.text


async def test_http2_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Each stream of a connection is a request."""
    async with serving(http(plain_asgi)) as served, httpx.AsyncClient(http1=False, http2=True) as client:
        for name in ("x", "early"):
            await client.get(f"http://127.0.0.1:{served.port}/{name}")
        found = await lines(caplog, 2)
    assert found == [("GET", "/x", 203, "returned", 8), ("GET", "/early", 500, "failed", 0)]
    assert [each.__dict__["http_version"] for each in caplog.records if each.name == "trivet.access"] == ["2", "2"]


@pytest.mark.parametrize(
    ("name", "status", "outcome", "sent"),
    [("x", 203, "returned", 8), ("early", 500, "failed", 0), ("late", 203, "failed", 4)],
)
async def test_a_protocol_that_notes_nothing(
    caplog: pytest.LogCaptureFixture, name: str, status: int, outcome: str, sent: int
) -> None:
    """HTTP/3 is hypercorn's own: the application is wrapped instead."""

    async def nothing(*_: Any) -> Any:
        await trio.lowlevel.checkpoint()

    wrapped = AccessLog(logging.getLogger("trivet.access")).around(plain_asgi)
    scope = {"type": "http", "method": "GET", "path": f"/{name}", "http_version": "3", "client": None}
    with suppress(KeyError):
        await wrapped(scope, nothing, nothing)
    assert lines_of(caplog) == [("GET", f"/{name}", status, outcome, sent)]


async def test_without_a_log_nothing_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    """No entry in the scope: the application and the server spend nothing."""
    caplog.set_level(logging.WARNING, "trivet.access")
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(ACCESS in scope)
        await plain_asgi(scope, receive, send)

    outer = App()
    outer.mount("/m", http(app))
    async with serving(outer) as served:
        await served.request(b"GET /m/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert seen == [False]
    assert Config().accesslog is None


# `trivet run` -----------------------------------------------------------------------------------------------------


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("shape", ["text", "json", "%(m)s %(U)s %(s)s"])
def test_the_options_of_the_command_line(shape: str, tmp_path: Path) -> None:
    """`--access-log FILE --access-log-format ...`: one line there for a request, none in our log."""
    path = tmp_path / "access.log"
    with running("--access-log", str(path), "--access-log-format", shape) as server:
        assert server.get("/nowhere%0A?secret=1")[0] in (200, 404)
        server.signal()
        assert server.wait() == 0
    (line,) = path.read_text().splitlines()
    assert "/nowhere%0A" in line
    assert "secret" not in line
    assert "/nowhere" not in server.log
    if shape == "json":
        assert json.loads(line)["method"] == "GET"


@pytest.mark.live
@pytest.mark.slow
def test_the_log_is_off_by_default() -> None:
    """Our log is written from INFO on; the access log, which is INFO too, is not part of it."""
    with running() as server:
        server.get("/somewhere")
        server.signal()
        assert server.wait() == 0
    assert "/somewhere" not in server.log
    assert "stopping" in server.log
