"""A room on Starlette, in the three ways that people write it: one after another, all at once, and with a queue each.

`loop` is the `ConnectionManager` of the documentation of FastAPI, whose WebSockets are Starlette's.
"""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

WAITING = 256
"""Messages that may wait for one client, as many as with trivet's `Broadcast`."""

_clients: set[WebSocket] = set()
_queues: set[asyncio.Queue[str]] = set()


async def _one_by_one(ws: WebSocket) -> None:
    await ws.accept()
    _clients.add(ws)
    try:
        await ws.send_text("welcome")
        while True:
            text = await ws.receive_text()
            for client in list(_clients):
                await client.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        _clients.discard(ws)


async def _all_at_once(ws: WebSocket) -> None:
    await ws.accept()
    _clients.add(ws)
    try:
        await ws.send_text("welcome")
        while True:
            text = await ws.receive_text()
            await asyncio.gather(*(client.send_text(text) for client in _clients), return_exceptions=True)
    except WebSocketDisconnect:
        pass
    finally:
        _clients.discard(ws)


async def _queued(ws: WebSocket) -> None:
    await ws.accept()
    queue = asyncio.Queue[str](WAITING)
    _queues.add(queue)
    writer = asyncio.create_task(_write(ws, queue))
    try:
        await ws.send_text("welcome")
        while True:
            text = await ws.receive_text()
            for each in _queues:
                each.put_nowait(text)
    except WebSocketDisconnect:
        pass
    finally:
        _queues.discard(queue)
        writer.cancel()


async def _write(ws: WebSocket, queue: asyncio.Queue[str]) -> None:
    while True:
        await ws.send_text(await queue.get())


loop = Starlette(routes=[WebSocketRoute("/room", _one_by_one)])
gather = Starlette(routes=[WebSocketRoute("/room", _all_at_once)])
queues = Starlette(routes=[WebSocketRoute("/room", _queued)])
