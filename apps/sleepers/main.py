"""Handlers that take their time: many wait at once, and one whose client leaves stops waiting."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import trio
from msgspec import Meta

from trivet import App, Depends, RequestCancelled, Sink, Stream

Seconds = Annotated[int, Meta(ge=0, le=60)]

# The default timeout, 30 s, would cut the longest sleep; 70 s leaves it room and still ends a handler that hangs.
app = App(timeout=70)


@dataclass
class Tally:
    """What has become of the requests so far."""

    asleep: int = 0
    finished: int = 0
    stopped: int = 0


tally = Tally()


@asynccontextmanager
async def counted() -> AsyncGenerator[None]:
    """Keep the tally of one request, however it ends.

    As a dependency it is left when the sleep is over for good: after a stream's last line, and after a cancellation. It
    waits for nothing, but it is `async` to run in the request's own task: a plain function would run in a thread, where
    `+=` needs a lock.
    """
    tally.asleep += 1
    try:
        yield
    except RequestCancelled:  # the client left, or the server stops; `request.ended` says which
        tally.stopped += 1
        raise
    else:
        tally.finished += 1
    finally:
        tally.asleep -= 1


@app.get("/sleep", dependencies=[Depends(counted)])
async def sleep(seconds: Seconds) -> str:
    """Answer after one long sleep."""
    await trio.sleep(seconds)
    return f"slept for {seconds} seconds\n"


@app.get("/loop", dependencies=[Depends(counted)])
async def loop(seconds: Seconds) -> Stream:
    """Sleep for a second at a time, and say so each time."""

    async def feed(sink: Sink) -> None:
        for _ in range(seconds):
            await trio.sleep(1)
            await sink.send("slept for 1 seconds\n")

    return Stream(feed, media_type="text/plain")


@app.get("/tally")
async def show_tally() -> Tally:
    """How many are asleep now, how many have finished, and how many were stopped in their sleep."""
    return tally
