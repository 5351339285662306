"""The application of the simulation. This file owns what its handlers do, and the ledger of what happened to them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import trio

from trivet import App, Depends, HTTPError, Request, Response, Sink, Stream

NOBODY = "?"


class Planned(Exception):
    """A handler was asked to fail."""


class Ledger:
    """What happened to the requests, by their names."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self.note = note
        self.live = 0
        self.begun: Counter[str] = Counter()
        self.opened = 0
        self.closed = 0
        self.twice = 0
        self.failures = 0
        self.received: dict[str, bytearray] = {}
        self.whole: set[str] = set()
        self.reading: dict[str, tuple[float, float]] = {}
        """From when to when a body was read."""

    @contextmanager
    def reads(self, name: str) -> Iterator[bytearray]:
        began = trio.current_time()
        try:
            yield self.received.setdefault(name, bytearray())
        finally:
            self.reading[name] = began, trio.current_time()


def pattern(name: str, size: int) -> bytes:
    """The body that belongs to a request."""
    line = f"{name}.{size};".encode()
    return (line * (size // len(line) + 1))[:size]


def digest(body: bytes) -> bytes:
    return b"%d:%08x" % (len(body), zlib.crc32(body))


class Kept:
    """What a dependency opens."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.closed = False
        ledger.opened += 1

    def close(self) -> None:
        self.ledger.twice += self.closed
        self.closed = True
        self.ledger.closed += 1


def make_app(ledger: Ledger) -> App:
    """The application; a new one for each run."""
    app = App(timeout=20, cleanup_grace=3, max_body=1_000_000)

    @asynccontextmanager
    async def kept(request: Request) -> AsyncIterator[str]:
        name = request.headers.get("x-id", NOBODY)
        thing = Kept(ledger)
        ledger.live += 1
        ledger.begun[name] += 1
        ledger.note(name, f"handler: {request.method} {request.path}")
        try:
            yield name
        finally:
            try:
                if len(name) % 2:
                    await trio.sleep(0.05)
            finally:
                thing.close()
                ledger.live -= 1
                ledger.note(name, f"handler: over, {request.ended}")

    Name = Annotated[str, Depends(kept)]  # noqa: N806

    @app.get("/now")
    async def now(request: Request) -> Response:
        return Response(b"now", headers={"x-id": request.headers.get("x-id", NOBODY)})

    @app.get("/sleep/{seconds}")
    async def sleep(seconds: float, name: Name) -> Response:
        await trio.sleep(seconds)
        return Response(b"slept", headers={"x-id": name})

    @app.get("/stream/{parts}/{size}/{pause}")
    async def stream(parts: int, size: int, pause: float, name: Name) -> Stream:
        body = pattern(name, parts * size)

        async def feed(sink: Sink) -> None:
            for at in range(0, len(body), size):
                await sink.send(body[at : at + size])
                if pause:
                    await trio.sleep(pause)

        return Stream(feed, headers={"x-id": name})

    @app.get("/late")
    async def late(name: Name) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send(b"begun")
            await trio.sleep(0.5)
            ledger.failures += 1
            raise Planned

        return Stream(feed, headers={"x-id": name})

    @app.post("/echo/{pause}")
    async def echo(pause: float, name: Name, request: Request) -> Response:
        with ledger.reads(name) as body:
            async for chunk in request.stream():
                body += chunk
                if pause:
                    await trio.sleep(pause)
        ledger.whole.add(name)
        return Response(digest(bytes(body)), headers={"x-id": name})

    @app.post("/both")
    async def both(name: Name, request: Request) -> Stream:
        body = ledger.received.setdefault(name, bytearray())

        async def feed(sink: Sink) -> None:
            async for chunk in request.stream():
                body.extend(chunk)
                await sink.send(chunk)
            ledger.whole.add(name)

        return Stream(feed, headers={"x-id": name})

    @app.post("/early/{seconds}")
    async def early(seconds: float, name: Name) -> Response:
        if seconds:
            await trio.sleep(seconds)
        return Response(b"early", headers={"x-id": name})

    @app.route("/raise/{seconds}", methods=["GET", "POST"])
    async def fail(seconds: float, name: Name) -> None:
        if seconds:
            await trio.sleep(seconds)
        ledger.failures += 1
        raise Planned

    @app.route("/teapot", methods=["GET", "POST"])
    async def teapot() -> None:
        raise HTTPError(418)

    return app


def bare(ledger: Ledger, app: App) -> Any:
    """An ASGI application that knows no `Link` below `/bare`, and the other one beside it: without the direct door."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/bare"):
            await app(scope, receive, send)
            return
        name = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"x-id"), NOBODY)
        ledger.begun[name] += 1
        ledger.live += 1
        ledger.note(name, "bare: begun")
        try:
            await answer(scope, receive, send, name)
        finally:
            ledger.live -= 1
            ledger.note(name, "bare: over")

    async def answer(scope: Any, receive: Any, send: Any, name: str) -> None:
        with ledger.reads(name) as body:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    break
        ledger.whole.add(name)
        await trio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-id", name.encode("latin-1"))]})
        text = digest(bytes(body))
        await send({"type": "http.response.body", "body": text[:4], "more_body": True})
        await send({"type": "http.response.body", "body": text[4:]})
        # It waits for its client to leave, as frameworks do, which must not go on for ever.
        await receive()

    return serve
