"""An application with each kind of thing that a shutdown ends, which says on stderr when each of them is over."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

import trio

from trivet import App, Depends, Request, Sink, Stream, WebSocket

log = logging.getLogger("order")


@contextmanager
def noted(name: str) -> Iterator[None]:
    """Say when the block is left, in whatever way."""
    try:
        yield
    finally:
        log.warning("over: %s.", name)


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    with noted("lifespan"):
        yield


@asynccontextmanager
async def shared() -> AsyncIterator[None]:
    with noted("app-scoped"):
        yield


@asynccontextmanager
async def of_a_run() -> AsyncIterator[None]:
    with noted("dependency of a run"):
        try:
            yield
        finally:
            await trio.sleep(0.05)


app = App(lifespan=lifespan, drain_timeout=float(os.environ.get("TASKS_MAY_TAKE", "0.3")))
crash = trio.Event()
open_now: set[str] = set()


@app.service
async def first(it: Annotated[None, Depends(shared, scope="app")], on: Annotated[None, Depends(of_a_run)]) -> None:
    with noted("first service"):
        await trio.sleep_forever()


RETURNS = bool(os.environ.get("SERVICE_RETURNS"))


@app.service(restart="always", max_restarts=0)
async def second(task_status: trio.TaskStatus[None]) -> None:
    with noted("second service"):
        task_status.started()
        await crash.wait()
        if not RETURNS:
            raise ConnectionResetError("the queue is gone")


async def background() -> None:
    with noted("task"):
        open_now.add("task")
        await trio.sleep_forever()


@app.get("/slow")
async def slow(request: Request) -> str:
    with noted("request"):
        open_now.add("request")
        app.tasks.start_soon(background)
        await request.draining.wait()
        await trio.sleep(0.1)
    return "whole"


@app.get("/stream")
async def stream(request: Request) -> Stream:
    async def feed(sink: Sink) -> None:
        with noted("stream"):
            open_now.add("stream")
            await sink.send("begun")
            await request.draining.wait()

    return Stream(feed)


@app.websocket("/room")
async def room(ws: WebSocket) -> None:
    with noted("websocket"):
        open_now.add("websocket")
        async for _ in ws:
            pass


@app.get("/order")
async def order() -> str:
    app.tasks.start_soon(background)
    return "soon"


inner = App(drain_timeout=app.drain_timeout)
app.mount("/inner", inner)


@inner.service
async def of_inner() -> None:
    with noted("service of the mounted"):
        await trio.sleep_forever()


async def task_of_inner() -> None:
    with noted("task of the mounted"):
        await trio.sleep_forever()


@inner.get("/order")
async def order_inside() -> str:
    inner.tasks.start_soon(task_of_inner)
    return "soon"


@app.get("/open")
async def opened() -> list[str]:
    return sorted(open_now)


@app.get("/crash")
async def crashes() -> str:
    crash.set()
    return "soon"
