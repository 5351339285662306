"""What the load scenarios ask for: handlers that wait, stream, read and count what becomes of them.

`app` is served by all scenarios but L10 (`websockets`: the same, and any WebSocket is an echo), L12, L13 (`room`) and
L14 (`overload`).
`LOAD_HASTE` in the environment makes the time limits that many times shorter.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import trio
import trio.lowlevel

from trivet import App, Depends, HTTPError, Request, RequestCancelled, Sink, Stream

HASTE = float(os.environ.get("LOAD_HASTE", "1"))
CHUNK = bytes(65_536)

# `sleep` is asked for up to a minute; the other limits are the defaults.
app = App(timeout=70)


class Counts:
    """What has become of the requests so far."""

    live = 0
    cancelled = 0
    last_cancelled = 0.0
    cleaned = 0
    left = 0


@contextmanager
def counted() -> Generator[None]:
    """Count a handler that can wait for as long as it runs."""
    Counts.live += 1
    try:
        yield
    except trio.Cancelled:
        Counts.cancelled += 1
        Counts.last_cancelled = time.monotonic()
        raise
    finally:
        Counts.live -= 1


@asynccontextmanager
async def resource() -> AsyncIterator[None]:
    """A dependency that has something to give back."""
    try:
        yield
    except RequestCancelled as error:
        await trio.lowlevel.checkpoint()
        Counts.left += error.reason == "disconnected"
        raise


@app.get("/")
async def root() -> str:
    """Cannot wait: the shortest way through the server."""
    return str(os.getpid())


@app.get("/stats")
async def stats() -> dict[str, Any]:
    """The counts, and what this process has open."""
    return {
        "pid": os.getpid(),
        "live": Counts.live,
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "cancelled": Counts.cancelled,
        "last_cancelled": Counts.last_cancelled,
        "cleaned": Counts.cleaned,
        "left": Counts.left,
    }


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> str:
    """Answer, with the process id, after a sleep."""
    with counted():
        await trio.sleep(seconds)
    return str(os.getpid())


@app.get("/careful/{seconds}")
async def careful(seconds: float, used: Annotated[None, Depends(resource)]) -> str:
    """Sleep, and clean up after it whatever happens: shielded, as Trio has it."""
    try:
        with counted():
            await trio.sleep(seconds)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.001)
            Counts.cleaned += 1
    return "slept"


@app.get("/big/{mebibytes}", send_timeout=10 / HASTE)
async def big(mebibytes: int) -> Stream:
    """A large download."""

    async def feed(sink: Sink) -> None:
        with counted():
            for _ in range(mebibytes * 16):
                await sink.send(CHUNK)

    return Stream(feed)


@app.get("/sse")
async def sse() -> Stream:
    """Events until the client leaves; it does not look at `request.draining`, as many do not."""

    async def feed(sink: Sink) -> None:
        with counted():
            while True:
                await sink.send("data: tick\n\n")
                await trio.sleep(0.1)

    return Stream(feed, media_type="text/event-stream")


@app.post("/upload", timeout=30 / HASTE, body_timeout=10 / HASTE)
async def upload(request: Request) -> str:
    """Read the body whole."""
    with counted():
        return str(len(await request.body()))


@app.post("/refuse")
async def refuse() -> None:
    """Answer without reading."""
    raise HTTPError(413)


async def websockets(scope: Any, receive: Any, send: Any) -> None:
    """The same application, and an echo for any WebSocket; `/push` sends for ever, `/slow` is slow."""
    if scope["type"] != "websocket":
        await app(scope, receive, send)
        return
    await receive()
    with counted():
        await send({"type": "websocket.accept"})
        if scope["path"] == "/push":
            while True:
                await send({"type": "websocket.send", "bytes": CHUNK})
        while (message := await receive())["type"] != "websocket.disconnect":
            if scope["path"] == "/slow":
                await trio.sleep(0.001)
            else:
                await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
