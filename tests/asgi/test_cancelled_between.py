"""A scope of middleware's that cancels a request: no drain is said of it, and its answer is the answer."""

from __future__ import annotations

import copy
import math
from typing import Any

import httpx
import pytest
import trio

from tests.harness import Serve
from trivet import App, Request, Sink, Stream, WebSocket, WebSocketClosed
from trivet._fence import Fence
from trivet.asgi import ASGIApp, Message, Receive, Scope, Send
from trivet.contrib import observe
from trivet.testing import TestClient


def patient(app: ASGIApp) -> ASGIApp:
    """Middleware with a time limit and an answer of its own."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        with trio.move_on_after(math.inf if scope["type"] == "lifespan" else 0.05):
            await app(scope, receive, noted)
            return
        if not begun and scope["type"] == "http":
            await send({"type": "http.response.start", "status": 504, "headers": []})
            await send({"type": "http.response.body", "body": b"it gave up"})

    return limited


def application() -> tuple[App, list[Any]]:
    """An application inside of it, and what its requests have ended with."""
    app, ended = App(), list[Any]()
    app.mount("/observe", observe.router("metrics", registry=None))
    app.wrap(patient)

    @app.get("/waits")
    async def waits(request: Request) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(request)

    @app.get("/streams")
    async def streams(request: Request) -> Stream:
        async def feed(sink: Sink) -> None:
            try:
                await sink.send("half")
                await trio.sleep_forever()
            finally:
                ended.append(request)

        return Stream(feed)

    @app.get("/shielded")
    async def shielded(request: Request) -> str:
        ended.append(request)
        with trio.CancelScope(shield=True):
            await trio.sleep(0.2)
        return "done"

    @app.get("/late")
    async def late(request: Request) -> Stream:
        ended.append(request)
        with trio.CancelScope(shield=True):
            await trio.sleep(0.2)

        async def feed(sink: Sink) -> None:
            await trio.lowlevel.checkpoint()

        return Stream(feed)

    @app.websocket("/socket")
    async def socket(ws: WebSocket) -> None:
        ended.append(ws)
        await ws.send("hello")
        await trio.sleep_forever()

    return app, ended


def counted(app: App) -> list[tuple[str, dict[tuple[int, str], int]]]:
    meter: Any = app.meter
    return [(each.route, dict(each.ended)) for each in meter.snapshot()]


async def test_its_answer_is_the_answer(serve: Serve) -> None:
    """The handler's request has failed; ours would be that the server is stopping."""
    app, ended = application()
    async with serve(app) as client:
        response = await client.get("/waits")
        assert (response.status_code, response.text) == (504, "it gave up")
    assert [request.ended for request in ended] == ["failed"]
    assert counted(app) == [("/waits", {(504, "failed"): 1})]


async def test_a_stream_is_cut(serve: Serve) -> None:
    """Half of it is out, and must not look whole."""
    app, ended = application()
    async with serve(app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/streams")
    assert [request.ended for request in ended] == ["failed"]
    assert counted(app) == [("/streams", {(200, "failed"): 1})]


async def test_what_a_shielded_handler_returns_is_not_a_drains(serve: Serve) -> None:
    """It took its time although it was cancelled."""
    app, ended = application()
    async with serve(app) as client:
        assert (await client.get("/shielded")).text == "done"
    assert [request.ended for request in ended] == ["returned"]


async def test_a_stream_that_is_late_does_not_begin(serve: Serve) -> None:
    """There is no value yet that could count."""
    app, ended = application()
    async with serve(app) as client:
        assert (await client.get("/late")).status_code == 504
    assert [request.ended for request in ended] == ["failed"]


async def test_a_websocket_is_closed_as_for_an_error(autojump_clock: trio.testing.MockClock) -> None:
    """1011, and not 1001: its page should not come back at once."""
    app, ended = application()
    async with TestClient(app) as client, client.websocket("/socket") as ws:
        assert await ws.receive() == "hello"
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1011
    assert [each._scope.reason for each in ended] == ["failed"]


async def test_a_server_without_notice_that_stops_it_drains(autojump_clock: trio.testing.MockClock) -> None:
    """As hypercorn's `graceful_timeout` does: its cancellation comes from outside of the middleware."""
    app, ended = application()

    def server(app: ASGIApp) -> ASGIApp:
        async def stopping(scope: Scope, receive: Receive, send: Send) -> None:
            with trio.move_on_after(math.inf if scope["type"] == "lifespan" else 0.01):
                await app(scope, receive, send)

        return stopping

    async with TestClient(server(app), link=False) as client:
        response = await client.get("/waits")
    assert response.status_code == 503
    assert [request.ended for request in ended] == ["drained"]
    assert counted(app) == [("/waits", {(503, "drained"): 1})]


def test_a_scope_that_is_copied_deeply_means_the_same_request() -> None:
    """As hypercorn's ProxyFixMiddleware does."""
    fence = Fence()
    assert copy.deepcopy({"fence": fence})["fence"] is fence
