"""No failure hides: how a request ended is one word, in the log, in the metrics and in the span."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.harness import SocketClient
from tests.harness.serving import address_of
from tests.live._inprocess import Served, get, read_all, serving
from trivet import (
    App,
    Body,
    Depends,
    EventSink,
    EventStream,
    HTTPError,
    Limit,
    Request,
    Sink,
    Stream,
    UploadFile,
    WebSocket,
    WebSocketClosed,
)
from trivet.asgi import ASGIApp, Receive, Scope, Send
from trivet.contrib import observe
from trivet.errors import ClientDisconnected
from trivet.testing import WebSocketRefused

pytestmark = pytest.mark.live


@dataclass
class Told:
    """What became of the one request of a test, from all sides."""

    app: App
    spans: InMemorySpanExporter
    began: trio.Event = field(default_factory=trio.Event)

    def span(self) -> ReadableSpan:
        """The one span."""
        (span,) = self.spans.get_finished_spans()
        return span


def foreign(told: Told) -> ASGIApp:
    """Somebody else's application, which says nothing of how a request ended."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        how = scope["path"].rpartition("/")[2]
        if how == "sleep":
            told.began.set()
            await trio.sleep_forever()
        if how == "cut":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if how == "listens":
            told.began.set()
            while (await receive())["type"] != "http.disconnect":
                pass

    return app


def between(app: ASGIApp) -> ASGIApp:
    """Middleware that forgets to answer."""

    async def forgetful(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != "/forgotten":
            await app(scope, receive, send)

    return forgetful


def application(told: Told, *, traced: bool) -> App:
    app = told.app
    if traced:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(told.spans))
        app.wrap(observe.opentelemetry, tracer_provider=provider)
        app.wrap(between)
    app.mount("/observe", observe.router("metrics", registry=None))
    app.mount("/asgi", foreign(told))

    @app.get("/returned/{name}")
    async def returned(name: str) -> str:
        return name

    @app.get("/waited")
    async def waited() -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    full = Limit(1)
    full._take(trio.current_time())  # by somebody who never gives it back

    @app.get("/full", limit=full)
    async def never() -> None:
        await trio.sleep_forever()

    @app.get("/failed")
    async def failed() -> None:
        raise HTTPError(409)

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError("unexpected")

    @app.get("/deadline", timeout=0.01)
    @app.get("/sleep", timeout=None)
    async def sleep(request: Request) -> None:
        told.began.set()
        await trio.sleep_forever()

    @app.get("/stream")
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("half")
            told.began.set()
            await trio.sleep_forever()

        return Stream(feed)

    @app.get("/cut")
    async def cut() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("half")
            raise KeyError("unexpected")

        return Stream(feed)

    @app.get("/events")
    async def events() -> EventStream:
        async def feed(sink: EventSink) -> None:
            told.began.set()
            await trio.sleep_forever()

        return EventStream(feed)

    @app.post("/reads")
    async def asks(request: Request) -> None:
        told.began.set()
        await request.body()

    @app.post("/parts")
    async def parts(request: Request) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async for _ in request.stream():
                told.began.set()

    async def begins() -> None:
        told.began.set()

    first = [Depends(begins)]

    @app.post("/parsed", dependencies=first)
    @app.post("/stops", dependencies=first, on_disconnect="cancel")
    async def parsed(body: Annotated[list[int], Body()]) -> None: ...

    @app.post("/form", dependencies=first)
    async def form(upload: UploadFile) -> None: ...

    @app.post("/goes-on")
    async def goes_on(request: Request) -> str:
        told.began.set()
        with suppress(ClientDisconnected):
            await request.body()
        return "made do with what there was"

    @app.websocket("/ws/{how}")
    async def socket(ws: WebSocket, how: str) -> None:
        if how == "refused":
            raise HTTPError(403)
        await ws.send("hello")
        if how == "failed":
            raise KeyError("unexpected")
        if how == "left":
            await ws.receive()

    return app


def counts_of(told: Told) -> Any:
    """The application's counters."""
    return told.app.meter


Client = Callable[[Served, Told, bytes], Awaitable[None]]


async def reads(served: Served, told: Told, path: bytes) -> None:
    """A client that waits for its answer."""
    await served.request(get(path, close=True))


async def leaves(served: Served, told: Told, path: bytes) -> None:
    """A client that goes when the handler has begun."""
    async with await served.connect() as stream:
        await stream.send_all(get(path))
        await told.began.wait()


async def uploads_half(served: Served, told: Told, path: bytes) -> None:
    """A client that goes in the middle of its body."""
    kind = b"multipart/form-data; boundary=b" if path == b"/form" else b"application/json"
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n" % (path, kind)
    async with await served.connect() as stream:
        await stream.send_all(head + b"--b\r\n" if path == b"/form" else head + b"[1, ")
        await told.began.wait()


async def stays(served: Served, told: Told, path: bytes) -> None:
    """A client that is there when the server stops."""
    async with await served.connect() as stream:
        await stream.send_all(get(path))
        await told.began.wait()
        served.stop.set()
        await read_all(stream)


@asynccontextmanager
async def served(told: Told) -> AsyncGenerator[Served]:
    async with serving(told.app, options={"drain_timeout": 0.02, "cleanup_grace": 0.5}) as server:
        yield server


CASES: list[tuple[bytes, str, Client, int, str]] = [
    (b"/returned/x", "/returned/{name}", reads, 200, "returned"),
    (b"/waited", "/waited", reads, 200, "returned"),
    (b"/full", "/full", reads, 503, "shed"),
    (b"/failed", "/failed", reads, 409, "failed"),
    (b"/bug", "/bug", reads, 500, "failed"),
    (b"/cut", "/cut", reads, 200, "failed"),
    (b"/deadline", "/deadline", reads, 503, "deadline"),
    (b"/sleep", "/sleep", leaves, 499, "disconnected"),
    (b"/stream", "/stream", leaves, 499, "disconnected"),
    (b"/sleep", "/sleep", stays, 503, "drained"),
    (b"/events", "/events", stays, 200, "drained"),
]


@pytest.mark.parametrize(
    ("path", "route", "client", "status", "outcome"), CASES, ids=[f"{case[1][1:]}-{case[4]}" for case in CASES]
)
async def test_each_outcome_is_one_word(
    caplog: pytest.LogCaptureFixture, path: bytes, route: str, client: Client, status: int, outcome: str
) -> None:
    """In the log, the metrics and the span, with the same route and status; and one of each."""
    caplog.set_level(logging.INFO, "trivet.access")
    told = Told(App(), InMemorySpanExporter())
    application(told, traced=True)
    async with served(told) as server:
        await client(server, told, path)
    (line,) = [each.__dict__ for each in caplog.records if each.name == "trivet.access"]
    assert (line["route"], line["status"], line["outcome"]) == (route, status, outcome)
    (counted,) = counts_of(told).snapshot()
    assert (counted.route, counted.method, counted.ended) == (route, "GET", {(status, outcome): 1})
    span = told.span()
    assert span.name == f"GET {route}"
    attributes: Any = span.attributes
    assert (attributes["http.route"], attributes["trivet.outcome"]) == (route, outcome)
    assert attributes.get("trivet.request_id", "-") == line["request_id"]


FOREIGN: list[tuple[bytes, str | None, Client, int, str]] = [
    (b"/asgi/silent", "/asgi/*", reads, 500, "failed"),
    (b"/asgi/cut", "/asgi/*", reads, 200, "failed"),
    (b"/asgi/listens", "/asgi/*", leaves, 499, "disconnected"),
    (b"/asgi/sleep", "/asgi/*", stays, 503, "drained"),
    (b"/forgotten", None, reads, 500, "failed"),
]


@pytest.mark.parametrize(
    ("path", "route", "client", "status", "outcome"), FOREIGN, ids=[f"{case[0].decode()[1:]}" for case in FOREIGN]
)
async def test_what_others_do_not_say_is_one_word_too(
    caplog: pytest.LogCaptureFixture, path: bytes, route: str | None, client: Client, status: int, outcome: str
) -> None:
    """Of a mounted application and of middleware: a bug of theirs is no client that has left."""
    caplog.set_level(logging.INFO, "trivet.access")
    told = Told(App(), InMemorySpanExporter())
    application(told, traced=True)
    async with served(told) as server:
        await client(server, told, path)
    (line,) = [each.__dict__ for each in caplog.records if each.name == "trivet.access"]
    assert (line["route"], line["status"], line["outcome"]) == (route, status, outcome)
    (counted,) = counts_of(told).snapshot()
    assert (counted.route, counted.ended) == (route or "none", {(status, outcome): 1})
    attributes: Any = told.span().attributes
    assert (attributes.get("http.route"), attributes["trivet.outcome"]) == (route, outcome)


@pytest.mark.parametrize(
    ("path", "status", "outcome"),
    [
        (b"/reads", 499, "disconnected"),
        (b"/parts", 499, "disconnected"),
        (b"/parsed", 499, "disconnected"),
        (b"/form", 499, "disconnected"),
        (b"/stops", 499, "disconnected"),
        (b"/goes-on", 200, "returned"),
    ],
)
async def test_a_client_that_leaves_in_its_body_is_no_failure(
    caplog: pytest.LogCaptureFixture, path: bytes, status: int, outcome: str
) -> None:
    """A POST is not stopped by it, and still cannot go on without its body, unless it says so itself."""
    caplog.set_level(logging.INFO, "trivet")
    told = Told(App(), InMemorySpanExporter())
    application(told, traced=True)
    async with served(told) as server:
        await uploads_half(server, told, path)
    (line,) = [each.__dict__ for each in caplog.records if each.name == "trivet.access"]
    route = path.decode()
    assert (line["method"], line["route"], line["status"], line["outcome"]) == ("POST", route, status, outcome)
    (counted,) = counts_of(told).snapshot()
    assert (counted.route, counted.method, counted.ended) == (route, "POST", {(status, outcome): 1})
    attributes: Any = told.span().attributes
    assert (attributes["http.route"], attributes["trivet.outcome"]) == (route, outcome)
    assert [each for each in caplog.records if each.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    ("path", "route", "client", "status", "outcome"), CASES, ids=[f"{case[1][1:]}-{case[4]}" for case in CASES]
)
async def test_nobody_else_has_to_look(path: bytes, route: str, client: Client, status: int, outcome: str) -> None:
    """The metrics are the same where nothing is logged and nothing traced, with the direct door open."""
    told = Told(App(), InMemorySpanExporter())
    application(told, traced=False)
    async with served(told) as server:
        await client(server, told, path)
    (counted,) = counts_of(told).snapshot()
    assert (counted.route, counted.method, counted.ended) == (route, "GET", {(status, outcome): 1})
    assert sum(counted.to_end.counts) == 1
    assert sum(counted.to_head.counts) == (0 if status == 499 and route == "/sleep" else 1)
    assert counts_of(told).requests == 0


async def test_the_page_shows_what_is_under_way() -> None:
    """A request that waits is in flight; one that nothing took has no path of its own; the page is text."""
    told = Told(App(), InMemorySpanExporter())
    application(told, traced=False)
    async with served(told) as server, await server.connect() as sleeping:
        await sleeping.send_all(get(b"/sleep"))
        await told.began.wait()
        for number in range(3):
            await server.request(get(b"/nowhere/%d" % number, close=True))
        answer = await server.request(get(b"/observe/metrics", close=True))
        head, _, page = answer.decode().partition("\r\n\r\n")
        assert "content-type: text/plain; version=" in head.lower()
        lines = page.splitlines()
        assert "trivet_requests_in_flight 2.0" in lines  # and the page itself
        assert 'trivet_requests_total{method="GET",outcome="failed",route="none",status="404"} 3.0' in lines
        assert "nowhere" not in page


SOCKETS = [
    ("/ws/returned", 101, "returned"),
    ("/ws/failed", 101, "failed"),
    ("/ws/refused", 403, "failed"),
    ("/nowhere", 404, "failed"),
    ("/ws/left", 499, "disconnected"),
]


@pytest.mark.parametrize(("path", "status", "outcome"), SOCKETS, ids=[path for path, *_ in SOCKETS])
async def test_so_it_is_for_websockets(caplog: pytest.LogCaptureFixture, path: str, status: int, outcome: str) -> None:
    """Which are counted apart from the requests of the same route, and are open until they are over."""
    caplog.set_level(logging.INFO, "trivet.access")
    told = Told(App(), InMemorySpanExporter())
    application(told, traced=True)
    how = path.rpartition("/")[2]
    async with serving(told.app) as server:
        await _visit(f"http://127.0.0.1:{server.port}", path)
    (line,) = [each.__dict__ for each in caplog.records if each.name == "trivet.access"]
    route = None if how == "nowhere" else "/ws/{how}"
    assert (line["route"], line["status"], line["outcome"]) == (route, status, outcome)
    (counted,) = counts_of(told).snapshot()
    assert (counted.route, counted.method, counted.ended) == (route or "none", "WEBSOCKET", {(status, outcome): 1})
    assert counts_of(told).websockets == 0
    attributes: Any = told.span().attributes
    assert attributes["trivet.outcome"] == outcome


async def _visit(url: str, path: str) -> None:
    async with SocketClient(address_of(url)) as client:
        try:
            async with client.websocket(path) as ws:
                await ws.receive()
                if not path.endswith("left"):
                    with suppress(WebSocketClosed):
                        await ws.receive()
        except WebSocketRefused:
            pass
