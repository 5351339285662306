"""An application to be looked at: requests that wait, tasks they start, and the page that shows them."""

from __future__ import annotations

import time

import trio

from trivet import App, Limit, Router, WebSocket
from trivet.contrib.observe._tasks_page import add_tasks

app = App(timeout=40)
ops = Router()
add_tasks(ops)
app.mount("/ops", ops)


inner = App(timeout=40)
app.mount("/inner", inner)


@app.get("/sleep/{seconds}")
@inner.get("/sleep/{seconds}")
async def sleep(seconds: int) -> str:
    """Wait."""
    await trio.sleep(seconds)
    return "slept"


@app.get("/together")
async def together(nursery: trio.Nursery) -> str:
    """Start two tasks, and wait for them."""
    nursery.start_soon(water_plants, name="water the plants")
    nursery.start_soon(trio.sleep, 20)
    with trio.move_on_after(30):
        await trio.sleep(60)
    return "done"


async def water_plants() -> None:
    """Something that takes a while."""
    with trio.move_on_after(15):
        await trio.sleep_forever()


@app.get("/queue", limit=Limit(1, queue=1, wait=2))
async def queue() -> str:
    """One at a time; another one may wait for its turn, and not for long."""
    await trio.sleep(60)
    return "done"


@app.post("/later")
async def later() -> None:
    """Start what goes on when the request is over."""
    app.tasks.start_soon(trio.sleep, 300, name="write the report")


@app.get("/block")
async def block(seconds: float = 0.25) -> str:
    """Hold up the event loop, as no handler should."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    return "blocked"


@app.websocket("/chat/{room}")
async def chat(ws: WebSocket, room: str) -> None:
    """Send back what comes."""
    async for message in ws:
        await ws.send(message)
