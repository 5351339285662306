"""A site for the HTTP/1.1 tests: a server in the test's own Trio run, an application that says what it saw, and a wire.

This file owns two decisions. What holds after every test (`site`): no handler lives, a new connection is served, tasks
and descriptors are as at the start, and nothing was logged as an error unless the test expects it. And what counts as
an answer (`answers`): what h11, which shares no code with the server, reads out of all bytes that came.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import select
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import h11
import hypothesis
import trio
import trio.testing
from hypothesis.strategies import SearchStrategy

from tests.live._inprocess import Served, serving
from tests.live._tasks import living
from trivet.asgi import Answer as DirectAnswer
from trivet.asgi import Door, Head
from trivet.server._limits import Limits

T = TypeVar("T")
RST = b"<RST>"

SETTLE_SECONDS = 3
"""A server that has not cleaned up by then never will."""


# What is sent ------------------------------------------------------------------------------------------------------


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    """A request without body."""
    lines = [method + b" " + path + b" HTTP/" + version, b"Host: x", *fields]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def sized(body: bytes, *fields: bytes, path: bytes = b"/", claim: int | None = None) -> bytes:
    """A POST with Content-Length; `claim` for one that lies."""
    length = b"Content-Length: %d" % (len(body) if claim is None else claim)
    return get(path, length, *fields, method=b"POST") + body


def chunked(*parts: bytes, path: bytes = b"/", trailers: bytes = b"", fields: Iterable[bytes] = ()) -> bytes:
    """A POST with a chunk for each part."""
    head = get(path, b"Transfer-Encoding: chunked", *fields, method=b"POST")
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


CLOSE = b"Connection: close"
EXPECT = b"Expect: 100-continue"
LAST = get(b"/last", CLOSE)


# What comes back ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Answer:
    """One response, as h11 read it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    early: list[int]
    """The interim responses before it."""

    def field(self, name: bytes) -> bytes | None:
        """The values of a field, joined; None if there is none."""
        values = [value for key, value in self.headers if key == name]
        return b", ".join(values) if values else None

    @property
    def closes(self) -> bool:
        return (self.field(b"connection") or b"").lower() == b"close"

    @property
    def seen(self) -> dict[str, Any]:
        """What `mirror` saw of the request."""
        assert self.status == 200, self
        return dict(json.loads(self.body))


def answers(data: bytes, *methods: str) -> list[Answer]:
    """Read all of `data` as responses to requests with these methods (GET, if not told).

    Raises:
        h11.RemoteProtocolError: it is something else, or cut.
        AssertionError: something follows a response that was said to be the last, or one is missing.
    """
    data = data.removesuffix(RST)
    found: list[Answer] = []
    while data:
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        answer, data = _one(data, method)
        found.append(answer)
        assert not (answer.closes and data), f"after the last response: {data!r}"
    assert len(found) >= len(methods), f"{len(methods)} responses expected: {found}"
    return found


def _one(data: bytes, method: str) -> tuple[Answer, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head: h11.Response | None = None
    early: list[int] = []
    body = b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.InformationalResponse):
            early.append(event.status_code)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            fields = [(bytes(name), bytes(value)) for name, value in head.headers]
            return Answer(head.status_code, fields, body, early), client.trailing_data[0]
        else:
            client.receive_data(b"")  # only a response that ends with the connection is complete then


class Wire:
    """One connection to a site; `held` is what came behind the last response that was read."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream: Any = stream
        self.held = b""

    async def send(self, data: bytes) -> None:
        """Send, whether or not the server still wants it."""
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError:
            pass

    async def send_in_parts(self, parts: Iterable[bytes]) -> None:
        """Send each part when the server has done all that it can do with those before."""
        for part in parts:
            await self.send(part)
            await trio.testing.wait_all_tasks_blocked()

    async def some(self) -> bytes:
        """The next bytes; empty at the end, `RST` if it broke."""
        try:
            return await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            return RST

    async def rest(self) -> bytes:
        """All bytes until the server closes; `RST` at the end if it broke."""
        parts = [self.held]
        self.held = b""
        while data := await self.some():
            parts.append(data)
            if data == RST:
                break
        return b"".join(parts)

    async def until(self, end: bytes) -> bytes:
        """All bytes up to `end`, and that."""
        while end not in self.held:
            data = await self.some()
            assert data not in (b"", RST), f"closed after {self.held!r}"
            self.held += data
        found, _, self.held = self.held.partition(end)
        return found + end

    async def answer(self, method: str = "GET") -> Answer:
        """The next response, on a connection that goes on."""
        while True:
            try:
                answer, self.held = _one(self.held, method)
            except h11.RemoteProtocolError:
                data = await self.some()
                assert data not in (b"", RST), f"closed after {self.held!r}"
                self.held += data
            else:
                return answer

    async def settle(self) -> None:
        """Return when the server can do no more without us."""
        await trio.testing.wait_all_tasks_blocked()

    def reset(self) -> None:
        """Be gone with RST."""
        self.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def is_quiet(self) -> bool:
        """Whether the server has neither closed nor said anything that we have not read."""
        await self.settle()
        return not self.held and not select.select([self.stream.socket], [], [], 0)[0]


# The server --------------------------------------------------------------------------------------------------------

Handler = Callable[[Any, Any, Any], Awaitable[None]]


async def read_body(receive: Any) -> bytes | None:
    """A request's body; None if the client left in the middle."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def reply(send: Any, body: bytes = b"ok", status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """A response of one part."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


def direct(head: Head) -> DirectAnswer | None:
    """A door that answers with the path, what has no body; a body may have come with its head, or not, by chance."""
    if head.body:
        return None
    return 200, [(b"content-length", b"%d" % len(head.raw_path))], head.raw_path


async def mirror(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was seen of the request."""
    body = await read_body(receive)
    if body is not None:
        seen = {name: scope[name] for name in ("method", "path", "http_version")}
        seen |= {name: scope[name].decode("latin-1") for name in ("raw_path", "query_string")}
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        await reply(send, json.dumps({**seen, "headers": headers, "body": body.decode("latin-1")}).encode())


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send each part of the body back as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


def streams(*parts: bytes, length: int | None = None, status: int = 200, more: bool = False) -> Handler:
    """A handler that answers with the parts; `length` is stated; `more`: an empty part ends it."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": more or number < len(parts)})
        if more or not parts:
            await send({"type": "http.response.body"})

    return handler


class Site:
    """A running server, and what its application has been asked."""

    def __init__(self, handler: Handler, lifespan: Handler | None) -> None:
        self.handler = handler
        self.lifespan = lifespan
        self.paths: list[bytes] = []
        self.live = 0
        self.errors: list[str] = []
        self.stopped = False
        """Set by a test that has stopped the server, so that it is not asked again."""
        self.tls: ssl.SSLContext | None = None
        """How to connect; None: in the clear."""
        self.served: Served

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert self.lifespan is not None  # the server goes on without
            await self.lifespan(scope, receive, send)
            return
        if scope["raw_path"] == b"/alive":
            await reply(send)
            return
        self.paths.append(scope["raw_path"])
        self.live += 1
        try:
            await self.handler(scope, receive, send)
        finally:
            self.live -= 1

    @asynccontextmanager
    async def connect(self, *, receive_buffer: int | None = None) -> AsyncGenerator[Wire]:
        """Open a connection; closed at the end."""
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        await sock.connect(("127.0.0.1", self.served.port))
        async with trio.SocketStream(sock) as plain:
            if self.tls is None:
                yield Wire(plain)
                return
            secure = trio.SSLStream(plain, self.tls, server_hostname="localhost", https_compatible=True)
            yield Wire(secure)

    async def exchange(self, *parts: bytes) -> bytes:
        """Send the parts one by one on a connection of their own; all that comes until the server closes."""
        async with self.connect() as wire:
            await wire.send_in_parts(parts)
            return await wire.rest()

    async def check_alive(self) -> None:
        assert answers(await self.exchange(get(b"/alive", CLOSE)))[0].status == 200


class DirectSite(Site):
    """A site whose application has a direct door (`trivet.asgi`), which answers all that has no body."""

    def __init__(self, door: Door) -> None:
        super().__init__(mirror, None)
        self._door = door

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    def __trivet_door__(self) -> Door:
        return self._door


@asynccontextmanager
async def site(
    handler: Handler = mirror,
    *,
    door: Door | None = None,
    tls: ssl.SSLContext | None = None,
    lifespan: Handler | None = None,
    limits: Limits | None = None,
    fails: bool = False,
    options: dict[str, Any] | None = None,
    **config: Any,
) -> AsyncGenerator[Site]:
    """Serve `handler`, and see at the end that nothing is left and that the server still serves.

    Args:
        handler: an ASGI application for `http` scopes.
        door: answers in its place, at once.
        tls: how to connect, if `config` makes it a server of HTTPS.
        lifespan: one for the `lifespan` scope.
        limits: of the server.
        fails: whether the handler is meant to fail, so that errors are logged.
        options: further ones of `serve`.
        config: hypercorn's configuration by name.
    """
    made = Site(handler, lifespan) if door is None else DirectSite(door)
    made.tls = tls
    given = {**(options or {}), **({} if limits is None else {"limits": limits})}
    with _errors_in(made.errors):
        app = made if isinstance(made, DirectSite) else made.app
        async with serving(app, options=given, **config) as served:
            made.served = served
            await made.check_alive()
            await trio.testing.wait_all_tasks_blocked()  # a task that has closed its stream is about to end
            before = _footprint()
            yield made
            if made.stopped:
                return
            await made.check_alive()
            with trio.move_on_after(SETTLE_SECONDS):
                while made.live or _footprint() != before:  # noqa: ASYNC110 - nothing says when a socket is closed
                    await trio.sleep(0.005)
            assert (made.live, *_footprint()) == (0, *before), "handlers, tasks, descriptors"
    assert fails or made.errors == []


def _footprint() -> tuple[int, int]:
    return living(), len(os.listdir("/proc/self/fd"))


class _errors_in(logging.Handler):  # noqa: N801 - used as a context manager
    """Collects what the server logs as an error."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.found = errors

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))

    def __enter__(self) -> None:
        logging.getLogger("trivet").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("trivet").removeHandler(self)


async def for_all(strategy: SearchStrategy[T], check: Callable[[T], Awaitable[None]], examples: int) -> None:
    """Let hypothesis look for a value that fails `check`, all against the one server of this Trio run."""

    @hypothesis.settings(max_examples=examples, database=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(strategy)
    def run(value: T) -> None:
        trio.from_thread.run(check, value)

    await trio.to_thread.run_sync(partial(run))
