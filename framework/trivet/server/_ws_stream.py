"""One WebSocket between a protocol of hypercorn's and the application.

This file owns the handshake's refusals and what the application is told at the end. Frames it leaves to hypercorn's
`WSStream` and wsproto. What it changes, beside the `Link`:

- A malformed handshake (bytes beyond ASCII in a header) is 400; it ended the server.
- permessage-deflate is not offered: a message of half a megabyte could inflate to half a gigabyte in one step.
- A subprotocol that the client did not offer, or a header that cannot be sent, is the application's error: 500.
- Data before the handshake is answered closes the connection, and the application is told.
- The client's close code and reason reach the application.
- A message beyond the limit ends the connection with 1009, instead of being read on into memory.
- `send` raises once the client has left: a handler that only sends would go on for ever.
- A protocol error is answered with its close code (RFC 6455 section 7.4.1), not with silence.
- Over HTTP/2 a close frame goes out, and END_STREAM behind it (RFC 8441 section 5), before the stream is reset.
- Over HTTP/2 no answer to a frame is waited for by who reads: it may need a window, which nobody else would open.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import trio
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, Handshake, WSStream
from hypercorn.typing import WebsocketAcceptEvent
from hypercorn.utils import valid_server_name
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Ping
from wsproto.events import Message as FrameMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from trivet._logline import Entry
from trivet.asgi import EXTENSION, Message, Reason

from ._faults import ClientGone
from ._inbox import MessageInbox
from ._link import RequestLink

if TYPE_CHECKING:
    from hypercorn.typing import WebsocketScope

    from ._connection import Connection
    from ._http_stream import Owner

_OVER = (ASGIWebsocketState.CLOSED, ASGIWebsocketState.HTTPCLOSED)


class WebSocketStream(WSStream):
    """One WebSocket. Args as `RequestStream`."""

    def __init__(self, connection: Connection, owner: Owner, stream_id: int) -> None:
        server = connection.server
        super().__init__(
            cast(Any, server.app),
            server.config,
            cast(Any, server.context),
            cast(Any, connection),
            connection.ssl,
            connection.client,
            connection.local,
            owner.stream_send,
            stream_id,
        )
        self.wire = connection
        self.owner = owner
        self.inbox = MessageInbox(server.config.max_app_queue_size)
        self.link = RequestLink(server.draining, server.send_timeout, self.abort)
        self.aborted = False
        self.receive = self.inbox.receive
        self.app_put = self._put
        self._close_code = int(CloseReason.ABNORMAL_CLOSURE)
        self._close_reason = ""
        self._left = False  # before we closed
        self._ping: Ping | None = None  # to be answered over HTTP/2
        self.entry: Entry | None = None  # of the access log
        self.outcome: Reason = "returned"

    async def _put(self, message: Message) -> None:
        self.inbox.feed(message)

    # From the client ---------------------------------------------------------------------------------------------

    async def handle(self, event: Event) -> None:
        """Take an event of the connection."""
        if self.closed:
            return
        if isinstance(event, (Body, Data)):
            if not self.handshake.accepted:
                # Not before our answer, says RFC 6455 section 4.1; hypercorn answered 400 and left the application
                # waiting for ever.
                await self._send_error_response(400)
                await self.send(StreamClosed(stream_id=self.stream_id))
            else:
                self.connection.receive_data(event.data)
                await self._handle_events()
        elif isinstance(event, Request):
            await self._begin(event)
        elif isinstance(event, StreamClosed):
            self._closed()
        elif isinstance(event, EndBody) and self._is_http2:
            await self._read_to_the_end(b"")  # the client has ended its half of the stream

    async def _begin(self, event: Request) -> None:
        self.start_time = time()
        raw_path, _, query = event.raw_path.partition(b"?")
        scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"spec_version": "2.4", "version": "3.0"},
            "scheme": self.scheme,
            "http_version": event.http_version,
            "path": "",
            "raw_path": raw_path,
            "query_string": query,
            "root_path": self.config.root_path,
            "headers": event.headers,
            "client": self.client,
            "server": self.server,
            "subprotocols": [],
            "state": event.state.copy(),
            "extensions": {"websocket.http.response": {}, EXTENSION: self.link},
        }
        self.scope = cast("WebsocketScope", scope)
        access = self.wire.server.access
        if access is not None:
            self.entry = access.begin(scope)
        try:
            self.handshake = Handshake(event.headers, event.http_version)
            self.handshake.extensions = None
            scope["path"] = unquote(raw_path.decode("ascii"))
            scope["subprotocols"] = self.handshake.subprotocols or []
            known = not self.config.server_names or valid_server_name(self.config, event)
            status = (101 if self.handshake.is_valid() else 400) if known else 404
        except UnicodeDecodeError:
            status = 400
        if status == 101:
            self.wire.spawn_application(cast(Any, self))
            self.inbox.feed({"type": "websocket.connect"})
        else:
            self.state = ASGIWebsocketState.HTTPCLOSED
            self.outcome = "failed"
            await self._send_error_response(status)
            await self.send(StreamClosed(stream_id=self.stream_id))
            self.ended()

    async def _handle_events(self) -> None:
        buffer: Any = self.buffer
        for event in self.connection.events():
            if isinstance(event, FrameMessage):
                try:
                    buffer.extend(event)
                except FrameTooLargeError:
                    await self._end(CloseReason.MESSAGE_TOO_BIG, "")
                    return
                if event.message_finished:
                    self.inbox.feed(buffer.to_message())
                    buffer.clear()
            elif isinstance(event, Ping):
                await self._answer(event)
            elif isinstance(event, CloseConnection):
                if self.connection.state is ConnectionState.OPEN:  # wsproto's way of saying: a protocol error
                    await self._end(event.code, event.reason or "")
                    return
                self._close_code, self._close_reason = int(event.code), event.reason or ""
                answers = self.connection.state is ConnectionState.REMOTE_CLOSING
                await self._read_to_the_end(self.connection.send(event.response()) if answers else b"")
                return

    async def _answer(self, ping: Ping) -> None:
        if not self._is_http2:
            await self._send_wsproto_event(ping.response())
            return
        before, self._ping = self._ping, ping
        if before is None:
            self.wire.spawn(self._send_pong)

    async def _send_pong(self) -> None:
        """Answer the last ping. Those that came while an answer waited have none (RFC 6455 section 5.5.3)."""
        while (ping := self._ping) is not None:
            await self._send_wsproto_event(ping.response())
            if self._ping is ping:
                self._ping = None

    async def _end(self, code: int, reason: str) -> None:
        """Close for the client's fault, and tell the application so."""
        self._close_code, self._close_reason = int(code), reason
        try:
            frame = self.connection.send(CloseConnection(code=int(code)))
        except LocalProtocolError:  # we have closed already
            frame = b""
        await self._read_to_the_end(frame)

    async def _read_to_the_end(self, frame: bytes) -> None:
        """Nothing more is read: tell the application, and end the stream with a last frame, if there is one."""
        self._closed()
        if self._is_http2:
            self.wire.spawn(self._end_stream, frame)
        else:
            await self._end_stream(frame)

    async def _end_stream(self, frame: bytes) -> None:
        if frame:
            await self.send(Data(stream_id=self.stream_id, data=frame))
        await self.send(EndData(stream_id=self.stream_id))
        await self.send(StreamClosed(stream_id=self.stream_id))

    @property
    def _is_http2(self) -> bool:
        return self.scope["http_version"] != "1.1"

    def _closed(self) -> None:
        self.closed = True
        # We and our protocol refer to each other: half a message would stay until the garbage collector comes by.
        cast(Any, self.buffer).clear()
        if self.state in _OVER:
            self._close_code = int(CloseReason.NORMAL_CLOSURE)
        else:
            if self._close_code == CloseReason.ABNORMAL_CLOSURE and self.outcome == "returned":
                self.outcome = "disconnected"
            self._left = True
            self.link.closed_with = self._close_code, self._close_reason
            self.link.client_left()
        self.inbox.end({"type": "websocket.disconnect", "code": self._close_code, "reason": self._close_reason})

    # From the application ----------------------------------------------------------------------------------------

    async def app_send(self, message: Message | None) -> None:  # type: ignore[override]
        """ASGI's `send`."""
        if self.closed:
            await trio.lowlevel.checkpoint()
            if self._left:
                raise ClientGone("the client has left")
            return
        if message is not None and message["type"] == "websocket.close":
            self.link.response_taken()
        await super().app_send(cast(Any, message))
        if self.entry is not None and message is not None:
            self._note(self.entry, message)

    def _note(self, entry: Entry, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            entry.head(101, trio.current_time())
        elif kind == "websocket.http.response.start":
            entry.head(message["status"], trio.current_time())
        elif kind == "websocket.send":
            entry.sent += len(message.get("bytes") or (message.get("text") or "").encode())
        elif kind == "websocket.http.response.body":
            entry.sent += len(message.get("body", b""))

    async def _send_error_response(self, status_code: int) -> None:
        await super()._send_error_response(status_code)
        if self.entry is not None:
            self.entry.head(status_code, trio.current_time())

    def ended(self) -> None:
        """See `Stream.ended`."""
        if self.entry is not None and self.wire.server.access is not None:
            self.wire.server.access.end(self.entry, self.outcome)

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        try:
            await super()._accept(message)
        except Exception:
            # hypercorn has moved on already; taken back, the error is answered with 500.
            self.state = ASGIWebsocketState.HANDSHAKE
            self.handshake.accepted = False
            raise

    async def application_done(self, status: int) -> None:
        """The application is over: close, with the reason there is."""
        self.link.response_taken()
        if self.closed:
            return
        if self.state not in _OVER and self.outcome == "returned":
            self.outcome = "drained" if status == 503 else "failed"
        if self.state is ASGIWebsocketState.HANDSHAKE:
            self.state = ASGIWebsocketState.HTTPCLOSED
            await self._send_error_response(status)
        elif self.state is ASGIWebsocketState.CONNECTED:
            draining = status == 503 and self.wire.server.draining.is_set()
            code = CloseReason.GOING_AWAY if draining else CloseReason.INTERNAL_ERROR
            await self._send_wsproto_event(CloseConnection(code=code))
            await self.send(EndData(stream_id=self.stream_id))
        elif self.state is ASGIWebsocketState.RESPONSE:
            self.abort()
            return
        await self.send(StreamClosed(stream_id=self.stream_id))

    def abort(self) -> None:
        """See `trivet.asgi.Link.abort`."""
        if not self.closed:
            self.aborted = True
            self.link.response_taken()
            if self.outcome == "returned":
                self.outcome = "failed"
            self._closed()
            self.owner.abort(self)
