"""`serve` in the test's own Trio run, and a raw client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from hypercorn.config import Config

from trivet.server import serve

PROTOCOL = "trivet"
"""Whose HTTP/1.1 `serving` speaks; see `conftest`."""


class Served:
    """A running server."""

    def __init__(self, url: str, stop: trio.Event, hurry: trio.Event) -> None:
        self.port = int(url.rsplit(":", 1)[1])
        self.stop = stop
        self.hurry = hurry

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def request(self, data: bytes) -> bytes:
        """Send, and read until the server closes."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            return await read_all(stream)


@asynccontextmanager
async def serving(app: Any, *, options: dict[str, Any] | None = None, **config: Any) -> AsyncGenerator[Served]:
    """Serve `app`; at the end, stop and wait for the end of the drain.

    `options` are those of `serve`, all else is set on the configuration.
    """
    settings = Config()
    settings.bind = ["127.0.0.1:0"]
    for name, value in config.items():
        setattr(settings, name, value)
    stop, hurry = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        triggers = {"shutdown_trigger": stop.wait, "hurry_trigger": hurry.wait}
        ended = trio.Event()

        async def run(task_status: trio.TaskStatus[list[str]]) -> None:
            await serve(app, settings, **triggers, **{"protocol": PROTOCOL, **(options or {})}, task_status=task_status)
            ended.set()

        urls: list[str] = await nursery.start(run)
        with trio.fail_after(60):
            yield Served(urls[0], stop, hurry)
            stop.set()
            await ended.wait()


async def until(check: Callable[[], object]) -> None:
    """Wait for what the server does in its own time; what never comes true is for an assertion to show."""
    with trio.move_on_after(20):
        while not check():  # noqa: ASYNC110 - what is waited for is in the server's hands
            await trio.sleep(0.002)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """What comes until the other end closes; `<RST>` at the end if it breaks."""
    received = b""
    try:
        async for data in stream:
            received += data
    except trio.BrokenResourceError:
        return received + b"<RST>"
    return received


async def read_until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        data = await stream.receive_some(65_536)
        if not data:
            raise AssertionError(f"closed after {received!r}")
        received += data
    return received


def http(handler: Any) -> Any:
    """An application without lifespan whose requests go to `handler`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] != "lifespan"
        await handler(scope, receive, send)

    return app


async def answer(send: Any, status: int = 200, body: bytes = b"ok", headers: Any = ()) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


def get(path: bytes = b"/", *, close: bool = False) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path, b"Connection: close\r\n" if close else b"")


def post(length: int, body: bytes = b"", extra: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s" % (length, extra, body)


class Told:
    """A handler that attaches to its `Link`, waits to be told, and remembers what it was told."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.began = trio.Event()
        self.event = trio.Event()

    def __call__(self, reason: str) -> None:
        self.reasons.append(reason)
        self.event.set()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].attach(self)
        self.began.set()
        await self.event.wait()
