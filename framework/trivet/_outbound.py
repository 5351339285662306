"""What goes out for one request, or one WebSocket: this is the only module that calls `send` for it.

    unstarted --start--> started --body*--> started --end--> finished
        |                    `--cut--> finished (truncated)
        `--whole--> finished

This file owns that order and what is done when a response fails midway: it is *cut*, so that the client sees a broken
connection and never takes half a body for a whole one. A WebSocket's end is a message of its own:

    handshake --accept--> open --message*--> open --close--> closed
        `--refuse--> closed
"""

from __future__ import annotations

from collections.abc import Awaitable

import trio

from ._logline import Entry
from .asgi import EXTENSION, Link, RawHeaders, Receive, Scope, Send
from .asgi import ASGIApp as _ASGIApp
from .asgi import Message as _Message

CUT = "trivet.cut"
"""The key in the scope of the `Cut` that an outer trivet application made, for those mounted in it."""


class ResponseCut(Exception):
    """Raised at the server when a response was cut: a server that knows no `Link` closes the connection then."""


class Outbound:
    """The outgoing half of one request."""

    __slots__ = ("_send", "sent")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.sent = 0
        """Bytes of body handed to the server."""

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Send the head."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Send a response in two messages, the way of nearly all of them."""
        send = self._send
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def body(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a part of the body, the last one with `more=False`."""
        self.sent += len(chunk)
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})


class SocketOutbound:
    """The outgoing half of one WebSocket. Who may call what, and when, is the caller's to know."""

    __slots__ = ("_send",)

    def __init__(self, send: Send) -> None:
        self._send = send

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """Accept the handshake."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})

    def message(self, data: str | bytes) -> Awaitable[None]:
        """Send a message. Returns the server's own awaitable: a room calls this for each of its members."""
        return self._send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})

    async def close(self, code: int, reason: str) -> None:
        """Close; before it was accepted, refuse the handshake with 403."""
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def refuse(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Refuse the handshake, on a server that lets us say how: the extension `websocket.http.response`."""
        await self._send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": body, "more_body": False})


class Cut:
    """Cuts a response for good, whatever sits between us and the server.

    ASGI middleware may end a truncated body as if it were whole: Starlette's BaseHTTPMiddleware does, whether the
    application returns or raises. So `send` is closed *outside* all middleware, and the server told there.
    """

    __slots__ = ("_link", "done")

    def __init__(self, link: Link | None) -> None:
        self._link = link
        self.done = False

    def cut(self) -> None:
        """Let nothing more out; tell a server that can be told."""
        self.done = True
        if self._link is not None:
            self._link.abort()

    def guard(self, send: Send) -> Send:
        """`send`, until the cut."""

        async def guarded(message: _Message) -> None:
            if not self.done:
                await send(message)

        return guarded


def cut_quietly(scope: Scope, link: Link | None) -> bool:
    """Cut the response of a request, as far as that can be said without raising; returns whether the server has been
    told."""
    cut: Cut | None = scope.get(CUT)
    if cut is not None:
        cut.cut()
    elif link is not None:
        link.abort()
    return cut is None and link is not None


def noted(send: Send, entry: Entry) -> Send:
    """`send`, with a note of what goes out: only for a request that is logged."""
    bodiless = entry.method == "HEAD"

    async def noted(message: _Message) -> None:
        try:
            await send(message)
        except OSError:  # a server's way to say that nobody is there (ASGI HTTP 2.4)
            entry.outcome = "disconnected"
            raise
        kind = message["type"]
        if kind == "http.response.start":
            entry.head(message["status"], trio.current_time())
        elif kind == "http.response.body":
            if not bodiless:
                entry.sent += len(message.get("body", b""))
            entry.complete = not message.get("more_body", False)
        elif kind[:10] == "websocket.":
            _note_socket(entry, kind, message)

    return noted


def _note_socket(entry: Entry, kind: str, message: _Message) -> None:
    if kind == "websocket.send":
        entry.sent += len(message.get("bytes") or (message.get("text") or "").encode())
    elif kind == "websocket.accept":
        entry.head(101, trio.current_time())
    elif kind == "websocket.close":
        if not entry.status:
            entry.head(403, trio.current_time())
        entry.complete = True
    elif kind == "websocket.http.response.start":
        entry.head(message["status"], trio.current_time())
    elif kind == "websocket.http.response.body":
        entry.sent += len(message.get("body", b""))
        entry.complete = not message.get("more_body", False)


def noted_socket(send: Send, entry: Entry) -> Send:
    """The same for a WebSocket whose messages nobody counts: a room sends many, and each has the server's own
    awaitable."""

    def noted(message: _Message) -> Awaitable[None]:
        kind = message["type"]
        if kind != "websocket.send":
            _note_socket(entry, kind, message)
        return send(message)

    return noted


async def guarded(app: _ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run `app`, a stack of ASGI middleware with our application inside, so that a cut stays a cut.

    Raises:
        ResponseCut: the response was cut and the server has no `Link`; it closes the connection.
    """
    link: Link | None = scope.get("extensions", {}).get(EXTENSION)
    cut = Cut(link)
    scope[CUT] = cut
    try:
        await app(scope, receive, cut.guard(send))
    except Exception:
        if not cut.done:
            raise
    if cut.done and link is None:
        raise ResponseCut("the response was cut: its body is incomplete")
