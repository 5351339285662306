"""WebSockets of an application while its server stops, and with clients that do not read: on both of its protocols."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from tests.harness.websockets import SocketWebSocket
from tests.live._inprocess import Served, get, serving
from tests.live._tasks import living
from trivet import App, WebSocket, WebSocketClosed

pytestmark = pytest.mark.live


@asynccontextmanager
async def open_at(served: Served, path: str) -> AsyncGenerator[SocketWebSocket]:
    request = httpx.Request("GET", f"http://127.0.0.1:{served.port}{path}")
    async with SocketWebSocket(await served.connect(), request, ()) as ws:
        yield ws


async def test_the_drain_closes_all_with_1001() -> None:
    """At once; a handler that may finish when it does, or when the drain time is over."""
    app, log = App(cleanup_grace=1), list[Any]()

    @app.websocket("/goes")
    async def goes(ws: WebSocket) -> None:
        await ws.send("hello")
        await trio.sleep_forever()

    @app.websocket("/looks", on_drain="finish")
    async def looks(ws: WebSocket) -> None:
        await ws.accept()
        await ws.draining.wait()
        await ws.send("bye")

    @app.websocket("/waits", on_drain="finish")
    async def waits(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await trio.sleep_forever()
        finally:
            log.append(ws.ended)

    @app.websocket("/reads", on_drain="finish")
    async def reads(ws: WebSocket) -> None:
        log.extend([message async for message in ws])

    async with (
        serving(app, options={"drain_timeout": 0.4}) as served,
        open_at(served, "/goes") as at_once,
        open_at(served, "/looks") as a,
        open_at(served, "/waits") as b,
        open_at(served, "/reads") as c,
    ):
        await trio.testing.wait_all_tasks_blocked(0.01)
        served.stop.set()
        assert await at_once.receive() == "hello"
        assert await at_once.wait_closed() == (1001, "")
        assert await a.receive() == "bye"
        assert await a.wait_closed() == (1001, "")
        assert log == []
        assert await b.wait_closed() == (1001, "")
        assert await c.wait_closed() == (1001, "")
    assert log == ["drained"]


async def test_a_client_that_does_not_read_is_dropped() -> None:
    """After `send_timeout`, and the handler is told by the send that was waiting."""
    app, log, over = App(), list[int](), trio.Event()

    @app.websocket("/", send_timeout=0.1)
    async def floods(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send("x" * 100_000)
        except WebSocketClosed as error:
            log.append(error.code)
            over.set()

    async with serving(app) as served, open_at(served, "/") as ws:
        with trio.fail_after(5):
            await over.wait()
        ws.leave()
    assert log == [1006]


async def test_hundreds_that_vanish_leave_no_task() -> None:
    """Neither the server's nor the application's; those that are reset, too."""
    app, codes = App(cleanup_grace=0.1), list[int | None]()
    wake = trio.Event()

    @app.websocket("/")
    async def echo(ws: WebSocket) -> None:
        try:
            async for message in ws:
                await ws.send(message)
        finally:
            codes.append(ws.close_code)
            if len(codes) == 100:
                wake.set()

    async with serving(app) as served:
        await served.request(get(close=True))
        await trio.testing.wait_all_tasks_blocked(0.02)
        before = living()
        for number in range(100):
            async with open_at(served, "/") as ws:
                if number % 2:
                    await ws.send("its echo is never read")
                ws.leave()
        with trio.fail_after(5):
            await wake.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert living() <= before
    assert codes == [1006] * 100
