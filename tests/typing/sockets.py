"""What type checkers must conclude about WebSockets. Never run: pyright and mypy, both strict, check it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, assert_type

import msgspec
import trio

from trivet import App, Limit, Reason, Router, WebSocket, WebSocketClosed
from trivet.asgi import Notice
from trivet.errors import InvalidMessage
from trivet.testing import TestClient, TestWebSocket, WebSocketRefused


class Item(msgspec.Struct):
    name: str


app = App(idle_timeout=30, on_drain="finish", origins=["https://example.com"])
router = Router(idle_timeout=None, origins=None, limit=Limit(9))
App(origins=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@app.websocket("/rooms/{name}", timeout=5, idle_timeout=60, origins=[], on_disconnect="cancel", name="room")
async def room(ws: WebSocket, name: str) -> None:
    async for message in ws:
        assert_type(message, str | bytes)
    assert_type(await ws.receive(), str | bytes)
    assert_type(await ws.receive_text(), str)
    assert_type(await ws.receive_bytes(), bytes)
    assert_type(await ws.receive_json(), Any)
    assert_type(await ws.receive_json(Item), Item)
    assert_type(await ws.receive_json(list[int]), list[int])
    assert_type(ws.iter(Item), AsyncIterator[Item])
    messages: AsyncIterator[Item | str] = ws.iter(Item | str)  # which mypy takes for no type
    assert_type(messages, AsyncIterator[Item | str])
    async for item in ws.iter(Item):
        assert_type(item, Item)
    await ws.send("x")
    await ws.send(b"x")
    await ws.send_json(Item("x"))
    await ws.send(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ws.accept()
    await ws.accept("chat", {"x-a": "b"})
    await ws.accept(subprotocol="chat", headers={"x-a": "b"})
    await ws.close()
    await ws.close(4000, "bye")
    await ws.close("bye")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def of_its_head(ws: WebSocket) -> None:
    assert_type(ws.path, str)
    assert_type(ws.headers["x"], str)
    assert_type(ws.query["x"], str)
    assert_type(ws.cookies["x"], str)
    assert_type(ws.subprotocols, Sequence[str])
    assert_type(ws.subprotocol, str | None)
    assert_type(ws.close_code, int | None)
    assert_type(ws.close_reason, str)
    assert_type(ws.deadline, float)
    assert_type(ws.ended, Reason | None)
    assert_type(ws.draining, Notice)
    assert_type(ws.url_for(room, name="x"), str)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, "x")


@router.websocket("/")
async def on_router(ws: WebSocket) -> None: ...


assert_type(app.url_for(room, name="x"), str)
app.websocket("/", middleware=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
app.websocket("/", status=201)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
app.get("/", idle_timeout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def of_errors(ws: WebSocket) -> None:
    await on_router(ws)
    try:
        await ws.receive_json(Item)
    except WebSocketClosed as error:
        assert_type(error.code, int)
        assert_type(error.reason, str)
    except InvalidMessage as error:
        assert_type(error.code, int)


async def of_tests(client: TestClient) -> None:
    async with client.websocket("/", headers={"x": "y"}, params={"a": "b"}, subprotocols=["chat"]) as ws:
        assert_type(ws, TestWebSocket)
        await ws.send("x")
        await ws.send_json(1)
        assert_type(await ws.receive(), str | bytes)
        assert_type(await ws.receive_json(), Any)
        async for message in ws:
            assert_type(message, str | bytes)
        assert_type(ws.close_code, int | None)
        assert_type(await ws.wait_closed(), tuple[int, str])


def of_refusals(refused: WebSocketRefused) -> None:
    assert_type(refused.status, int)
    assert_type(refused.response.text, str)
