"""A room on trivet: with `Broadcast`, as `apps/chat` has it, and one WebSocket after another.

Both say "welcome" to who is in the room: a client knows of no other way that it will hear what is said.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import trio

from trivet import App, Depends, WebSocket, WebSocketClosed
from trivet.contrib.broadcast import Broadcast, Message, Subscription

broadcast = App()
loop = App()
_clients: dict[WebSocket, None] = {}


@asynccontextmanager
async def open_rooms() -> AsyncGenerator[Broadcast]:
    async with Broadcast() as rooms:
        yield rooms


@broadcast.websocket("/room")
async def room(ws: WebSocket, rooms: Annotated[Broadcast, Depends(open_rooms, scope="app")]) -> None:
    await ws.accept()
    async with rooms.subscribe("room") as messages, trio.open_nursery() as nursery:
        await ws.send("welcome")
        nursery.start_soon(_write, ws, messages)
        async for text in ws:
            await rooms.publish("room", text)
        nursery.cancel_scope.cancel()


async def _write(ws: WebSocket, messages: Subscription[Message]) -> None:
    async for message in messages:
        await ws.send(message.data)


@loop.websocket("/room")
async def one_by_one(ws: WebSocket) -> None:
    await ws.accept()
    _clients[ws] = None
    try:
        await ws.send("welcome")
        async for text in ws:
            for client in list(_clients):
                try:
                    await client.send(text)
                except WebSocketClosed:
                    pass  # its own handler will know
    finally:
        del _clients[ws]
