"""A backend to try the gateway with: it can be slow, it can fall ill, and it says what became of its requests.

It is no part of the gateway, and knows nothing of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
import trio
from msgspec import Meta

from trivet import App, Depends, HTTPError, Request, RequestCancelled, Sink, Stream

Seconds = Annotated[float, Meta(ge=0, le=60)]


class State(msgspec.Struct):
    """How it is, and what became of requests that take their time."""

    ill: bool = False
    waiting: int = 0
    finished: int = 0
    stopped: list[str] = []
    """For each that was stopped, why."""


def create_app(name: str) -> App:
    """Make one of this name."""
    state = State()
    app = App(timeout=None, max_body=None, trusted=["127.0.0.1"])

    @app.get("/health")
    async def health() -> None:
        """How it is."""
        if state.ill:
            raise HTTPError(503, "It is ill.")

    @app.put("/health/{how}")
    async def fall(how: str) -> None:
        """Let it be `ill`, or `well`."""
        state.ill = how == "ill"

    @app.get("/state")
    async def show() -> State:
        """What became of the requests."""
        return state

    @app.get("/", dependencies=[Depends(health)])
    async def index() -> str:
        """What there is to be called: for who looks through the gateway at whatever is behind it."""
        return f"{name} is here. It has who, slow?seconds=10, loop?seconds=10, zeros?mebibytes=1 and, for POST, digest."

    @app.get("/who", dependencies=[Depends(health)])
    async def who() -> str:
        """Which one it is; one that is ill cannot say."""
        return name

    _slow(app, state)
    _large(app)
    return app


def _slow(app: App, state: State) -> None:
    """What takes its time."""

    @asynccontextmanager
    async def counted() -> AsyncGenerator[None]:
        state.waiting += 1
        try:
            yield
        except RequestCancelled as error:
            state.stopped.append(error.reason)
            raise
        else:
            state.finished += 1
        finally:
            state.waiting -= 1

    @app.route("/slow", methods=["GET", "POST"], dependencies=[Depends(counted)], on_disconnect="cancel")
    async def slow(request: Request, seconds: Seconds = 10.0) -> str:
        """Sleep; say how much time there was at the beginning."""
        left = request.time_left()
        await trio.sleep(seconds)
        return f"slept for {seconds:g} seconds, with {left:.3f} left at the beginning\n"

    @app.get("/loop", dependencies=[Depends(counted)])
    async def loop(seconds: Seconds = 10.0) -> Stream:
        """A line every tenth of a second."""

        async def feed(sink: Sink) -> None:
            for _ in range(round(seconds * 10)):
                await sink.send("a tenth\n")
                await trio.sleep(0.1)

        return Stream(feed, media_type="text/plain")


def _large(app: App) -> None:
    """What is large."""

    @app.post("/digest")
    async def digest(request: Request) -> str:
        """Of a body, in hexadecimal."""
        found = hashlib.sha256()
        async for part in request.stream():
            found.update(part)
        return found.hexdigest()

    @app.get("/zeros")
    async def zeros(mebibytes: Annotated[int, Meta(ge=0, le=1024)] = 1) -> Stream:
        """So many of them."""

        async def feed(sink: Sink) -> None:
            for _ in range(mebibytes * 16):
                await sink.send(bytes(64 * 1024))

        return Stream(feed)


app = create_app(os.environ.get("UPSTREAM_NAME", ""))
