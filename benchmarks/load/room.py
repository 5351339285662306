"""A room for the load scenarios, one policy for slow clients each: `/room/{policy}`; what is posted there is said.

A process of its own serves it, as `app` is; `/stats` tells of subscribers and dropped messages, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import trio

from trivet import App, Depends, Request, WebSocket
from trivet.contrib.broadcast import Broadcast, Message, Slow, SlowSubscriber, Subscription

from .app import counted
from .app import stats as app_stats

BUFFER = 16
"""Messages that wait for a slow client."""

app = App(timeout=70)


@asynccontextmanager
async def open_rooms() -> AsyncGenerator[Broadcast]:
    """One for all, with what `block` waits for bounded."""
    async with Broadcast(buffer=BUFFER, block_timeout=0.2) as rooms:
        yield rooms


Rooms = Annotated[Broadcast, Depends(open_rooms, scope="app")]


@app.get("/")
async def root() -> str:
    """See whether it answers."""
    return "here"


@app.get("/stats")
async def stats() -> dict[str, object]:
    """As the other application's."""
    return await app_stats()


@app.post("/room/{policy}")
async def say(policy: str, request: Request, rooms: Rooms) -> str:
    """Say it to all in the room."""
    await rooms.publish(policy, (await request.body()).decode())
    return str(rooms.counters.dropped)


@app.websocket("/room/{policy}")
async def listen(ws: WebSocket, policy: Slow, rooms: Rooms) -> None:
    """Hear it."""
    with counted():
        await ws.accept()
        try:
            async with rooms.subscribe(policy, slow=policy) as messages, trio.open_nursery() as nursery:
                nursery.start_soon(_write, ws, messages)
                async for _ in ws:
                    pass
                nursery.cancel_scope.cancel()
        except* SlowSubscriber:
            await ws.close(1013, "too slow")


async def _write(ws: WebSocket, messages: Subscription[Message]) -> None:
    async for message in messages:
        await ws.send(message.data)
