"""The application of the live tests: each path meets one promise of the request scope, or breaks one rule."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import trio

from tests.live._tasks import living
from trivet import App, Depends, HTTPError, Next, Request, RequestCancelled, Response, Sink, Stream, Text

MEBIBYTE = 2**20

app = App(timeout=60, max_body=MEBIBYTE, drain_timeout=5, cleanup_grace=2)

COUNTS = {"live": 0, "started": 0, "cancelled": 0, "left": 0, "finished": 0}
REASONS: list[str] = []


@app.middleware
async def counting(request: Request, call_next: Next) -> Response:
    COUNTS["live"] += 1
    try:
        return await call_next(request)
    finally:
        COUNTS["live"] -= 1


@app.get("/")
async def root() -> str:
    return str(os.getpid())


@app.get("/stats")
async def stats() -> dict[str, Any]:
    tasks = living()
    return {**COUNTS, "tasks": tasks, "fds": len(os.listdir("/proc/self/fd")), "pid": os.getpid()}


@asynccontextmanager
async def resource() -> AsyncIterator[None]:
    try:
        yield
    except RequestCancelled as error:
        await trio.sleep(0.01)
        REASONS.append(error.reason)
        COUNTS["left"] += 1
        raise


@app.get("/slow/{seconds}")
@app.post("/slow/{seconds}")
async def slow(seconds: float, used: Annotated[None, Depends(resource)]) -> str:
    COUNTS["started"] += 1
    try:
        await trio.sleep(seconds)
    except trio.Cancelled:
        COUNTS["cancelled"] += 1
        raise
    COUNTS["finished"] += 1
    return "ok"


@app.get("/patient")
async def patient(request: Request) -> Stream:
    async def feed(sink: Sink) -> None:
        await sink.send("begun")
        await request.draining.wait()
        await sink.send("-drained")

    return Stream(feed)


@app.get("/flood", send_timeout=0.5)
async def flood(used: Annotated[None, Depends(resource)]) -> Stream:
    async def feed(sink: Sink) -> None:
        COUNTS["started"] += 1
        try:
            while True:
                await sink.send(b"x" * 65536)
        except (trio.Cancelled, OSError):
            COUNTS["cancelled"] += 1
            raise

    return Stream(feed)


async def login() -> None:
    raise HTTPError(401)


@app.post("/auth")
async def auth(user: Annotated[None, Depends(login)], request: Request) -> bytes:
    return await request.body()


@app.post("/echo")
async def echo(request: Request) -> bytes:
    return await request.body()


# --- what the attacks ask for


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> str:
    await trio.sleep(seconds)
    return "ok"


@app.post("/refuse")
async def refuse() -> None:
    raise HTTPError(413)


@app.post("/refuse/{seconds}")
async def refuse_late(seconds: float) -> None:
    await trio.sleep(seconds)
    raise HTTPError(413)


FAULTS: dict[str, BaseException] = {
    "value": ValueError(),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "group": BaseExceptionGroup("several", [ValueError(), SystemExit(3)]),
}


@app.route("/raise/{name}", methods=["GET", "POST"])
async def fail(name: str) -> None:
    raise FAULTS[name]


@app.route("/raise/{name}/{seconds}", methods=["GET", "POST"])
async def fail_late(name: str, seconds: float) -> None:
    await trio.sleep(seconds)
    raise FAULTS[name]


@app.get("/nested")
async def nested(nursery: trio.Nursery) -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    nursery.start_soon(interrupt)
    await trio.sleep_forever()


@app.get("/late")
async def late() -> Stream:
    async def feed(sink: Sink) -> None:
        await sink.send("part")
        raise SystemExit(3)

    return Stream(feed)


@app.get("/header")
async def header() -> Response:
    return Text("x", headers={"x-a": "1\r\nx-injected: yes"})


@app.get("/status/{status}")
async def status(status: int) -> Any:
    return status, "x"


@app.get("/toolong")
async def toolong() -> Stream:
    async def feed(sink: Sink) -> None:
        await sink.send("12345")

    return Stream(feed, headers={"content-length": "3"})


@app.get("/tooshort")
async def tooshort() -> Stream:
    async def feed(sink: Sink) -> None:
        await sink.send("12345")

    return Stream(feed, headers={"content-length": "30"})


@app.get("/stream/{megabytes}")
async def stream(megabytes: int) -> Stream:
    async def feed(sink: Sink) -> None:
        for _ in range(megabytes * 16):
            await sink.send(b"x" * 65536)

    return Stream(feed)
