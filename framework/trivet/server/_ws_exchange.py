"""One WebSocket between its connection and an ASGI application (ASGI WebSocket 2.4).

This file owns the order of messages: what `send` takes when, and what becomes of an application that raises. How it
all ends is the lower half's, `_ws_ending`; bytes are `_ws_frames`', the socket is the connection's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import trio

from trivet.asgi import EXTENSION, Message, Reason

from ._faults import ClientGone, fault_in, is_echo, report
from ._http1_response import ResponseWriter
from ._http1_scope import websocket_scope_of
from ._ws_decoder import Decoder
from ._ws_deflate import deflated
from ._ws_ending import CONNECTING, OPEN, OVER, REFUSING, WebSocketEnding
from ._ws_frames import (
    ABNORMAL,
    BINARY,
    FIN,
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL,
    RSV1,
    TEXT,
    WebSocketFault,
    header,
)
from ._ws_handshake import Offer, acceptance
from ._ws_inbox import AT_ONCE

if TYPE_CHECKING:
    from ._http1_head import RequestHead
    from ._ws_connection import WebSocketConnection

_JOINED: Final = 65_536
"""Up to here a header and its payload are copied together; beyond, another system call is cheaper."""


AT_ONCE_TO_ALL: Final = 256
"""Messages that are sent on any connections before other tasks have their turn: a loop over the clients of a room sends
no second one on any, and would have the server for itself for as long as it takes."""


class WebSocketExchange(WebSocketEnding):
    """A WebSocket that an application answers. It is its own `Link`.

    Args:
        connection: it came on.
        head: of the request.
        offer: what is in it.
    """

    _row = 0  # messages sent since the last checkpoint
    _deflate_from: int | None = None  # bytes of a message that is compressed; None: none is
    _bits = 0  # of the window

    def __init__(self, connection: WebSocketConnection, head: RequestHead, offer: Offer) -> None:
        super().__init__(connection, head)
        self._offer: Offer | None = offer

    # What the application calls --------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """ASGI's `send`. A checkpoint if it blocks, and at least once in sixteen messages (256 of all connections).

        Cancelled while a frame is being sent, the rest of it follows. Any number of tasks may send at a time.
        """
        kind = message["type"]
        if kind != "websocket.send" or self._state != OPEN:
            await self._send_other(kind, message)
            return
        data = message.get("bytes")
        if data is None:
            first = FIN | TEXT
            text = message.get("text")
            if not isinstance(text, str):
                raise WebSocketFault("a 'websocket.send' takes bytes= or text=")
            data = text.encode()
        else:
            first = FIN | BINARY
            if type(data) is not bytes:
                data = bytes(memoryview(data))  # of a number, `bytes` would make so many zeros
        connection = self._connection
        if self._row >= AT_ONCE or connection.server.sent >= AT_ONCE_TO_ALL:
            self._row = connection.server.sent = 0
            await trio.lowlevel.checkpoint()
        while connection.pending is not None:
            self._row = 0
            await connection.drained()
        if self._state != OPEN or self._left:
            await self._nobody_there()
        if self._entry is not None:
            self._entry.sent += len(data)
        size = len(data)
        if self._deflate_from is not None and size >= self._deflate_from:
            data = deflated(data, self._bits)
            size = len(data)
            first |= RSV1
        if size <= _JOINED:
            written = connection.put(header(first, size) + data)
        else:
            connection.put(header(first, size))
            written = connection.put(data)
        self._row += 1
        connection.server.sent += 1
        if not written:
            self._row = 0
            await connection.drained()
            if connection.gone:
                await self._nobody_there()

    async def _send_other(self, kind: str, message: Message) -> None:
        if self._state == OVER or self._connection.gone:
            if kind == "websocket.close" and not self._left:
                raise WebSocketFault("the application closed its WebSocket twice")
            await self._nobody_there()
        elif kind == "websocket.close":
            await self._close(message)
        elif kind == "websocket.accept" and self._state == CONNECTING:
            await self._accept(message)
        elif kind == "websocket.http.response.start" and self._state == CONNECTING and self._writer is None:
            self._writer = ResponseWriter(self.head, message["status"], message.get("headers", ()), closes=True)
        elif kind == "websocket.http.response.body" and self._writer is not None:
            await self._send_part(self._writer, message.get("body", b""), message.get("more_body", False))
        else:
            raise WebSocketFault(f"the application sent {kind!r} {_WHEN[self._state]}")

    async def _nobody_there(self) -> None:
        await trio.lowlevel.checkpoint()
        raise ClientGone("the client has left" if self._left else "this WebSocket has been closed")

    async def _accept(self, message: Message) -> None:
        connection, offer = self._connection, self._offer
        assert offer is not None
        server = connection.server
        headers: Iterable[Any] = message.get("headers") or ()
        deflate_from = server.limits.websocket_deflate
        answer, bits = acceptance(
            offer, message.get("subprotocol"), headers, server.tails()[0], deflate=deflate_from is not None
        )
        if bits is not None:
            self._deflate_from, self._bits = deflate_from, bits
        self._offer = None
        self._state = OPEN
        if self._entry is not None:
            self._entry.head(101, trio.current_time())
        connection.open(answer, Decoder(server.limits.websocket_message, deflates=bits is not None))
        while connection.pending is not None:
            await connection.drained()
        await trio.lowlevel.checkpoint()

    async def _close(self, message: Message) -> None:
        if self._state == OPEN:
            code = message.get("code")
            self._say_goodbye(NORMAL if code is None else code, message.get("reason"))
        elif self._writer is not None and self._writer.sent:
            raise WebSocketFault("the application closed in the middle of its response")
        else:
            self._refuse(403)
            self.inbox.end({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})
        await trio.lowlevel.checkpoint()

    async def _send_part(self, writer: ResponseWriter, data: bytes, more: bool) -> None:
        """A part of the application's own refusal."""
        connection = self._connection
        pieces = writer.body(data, more, *connection.server.tails())
        self._state = REFUSING
        if self._entry is not None:
            if not self._entry.status:
                self._entry.head(writer.status, trio.current_time())
            self._entry.sent += len(data)
        for piece in pieces:
            connection.put(piece)
        if not more:
            self._state = OVER
            self.response_taken()
            self.inbox.end({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})
            connection.end()
        while connection.pending is not None:
            await connection.drained()
        await trio.lowlevel.checkpoint()

    # The end ---------------------------------------------------------------------------------------------------------

    async def run_logged(self) -> None:
        """Run the application, and write a line where there is a log. Raises only what cancels it."""
        offer = self._offer
        assert offer is not None
        connection = self._connection
        scope = websocket_scope_of(connection.server, connection.transport, self.head, offer.subprotocols)
        scope["extensions"][EXTENSION] = self
        access = connection.server.access
        if access is None:
            await self._run(scope)
            return
        self._entry = entry = access.begin(scope)
        outcome: Reason = "drained"
        try:
            outcome = await self._run(scope)
        finally:
            access.end(entry, self._outcome or outcome)

    async def _run(self, scope: dict[str, Any]) -> Reason:
        self.inbox.feed({"type": "websocket.connect"}, 0)
        fault: BaseException | None = None
        try:
            try:
                await self._connection.server.app(scope, self.inbox.receive, self.send)
            except BaseException as error:
                # KeyboardInterrupt and SystemExit too: signals are received elsewhere; here they are a handler's own.
                fault = fault_in(error)
                if fault is None:
                    raise
                report(fault, "websocket", scope["path"])
            failed = fault is not None and not is_echo(fault)
            fault = None  # its traceback holds this frame: a cycle, which would keep all that the application had
            unfinished = self._state != OVER
            self._finish(500, INTERNAL_ERROR)
        except trio.Cancelled:
            self._finish(503, GOING_AWAY if self.draining.is_set() else INTERNAL_ERROR)
            raise
        return "failed" if failed or unfinished else "returned"


_WHEN: Final = {
    CONNECTING: "before it has accepted:  {'type': 'websocket.accept'}",
    OPEN: "on an open WebSocket, which takes 'websocket.send' and 'websocket.close'",
    REFUSING: "in the middle of its response, which takes 'websocket.http.response.body'",
}
