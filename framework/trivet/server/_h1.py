"""HTTP/1.1 for a guarded connection: hypercorn's `H11Protocol`, made safe.

This file owns the reading loop of an HTTP/1.1 connection and when a response's bytes go out. Issue by issue, what it
changes:

- `Upgrade: h2c` is ignored, which RFC 9110 section 7.8 always permits: RFC 9113 has dropped it, proxies are smuggled
  past with it, and a malformed `HTTP2-Settings` ended the server. Prior knowledge (RFC 9113 section 3.3) still works.
- `100 Continue` goes out when the application first waits for the body, so that it can refuse without one.
- CONNECT is answered with 501 and not passed on: h11 would wait for a tunnel that nobody speaks.
- Both Content-Length and Transfer-Encoding, or chunked in HTTP/1.0: 400 (RFC 9112 section 6.1, request smuggling).
- A reader that is parked (unread body, pipelined request) still notices that the client leaves.
- The head of a response that states its length waits for the body: one packet instead of two.
- While the server drains, responses say `connection: close`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol, H11WSConnection

from ._http_stream import RequestStream
from ._ws_stream import WebSocketStream

if TYPE_CHECKING:
    from ._connection import Connection

_FINISHED = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\n"


class HTTP1(H11Protocol):
    """The HTTP/1.1 side of one connection."""

    shielded = False
    """A response that was interrupted ends its connection, which is its alone."""

    def __init__(self, connection: Connection) -> None:
        server = connection.server
        super().__init__(
            cast(Any, server.app),
            server.config,
            cast(Any, server.context),
            cast(Any, connection),
            server.lifespan_state,
            connection.ssl,
            connection.client,
            connection.local,
            connection.send,
        )
        self.wire = connection
        self.answered = 0
        self._held = b""  # the head of a response, until its body is there

    @property
    def unread(self) -> bool:
        """See `HTTPProtocol.unread`."""
        return self.connection.their_state not in _FINISHED

    async def handle(self, event: Event) -> None:
        """See `HTTPProtocol.handle`."""
        if isinstance(event, RawData):
            self.connection.receive_data(event.data)
            await self._handle_events()
        elif isinstance(event, Closed) and self.stream is not None:
            await self._close_stream()

    async def farewell(self) -> None:
        """HTTP/1.1 has none."""

    def abort(self, stream: RequestStream | WebSocketStream) -> None:
        """Close without the final chunk, or short of Content-Length; with RST where neither would show it."""
        self._held = b""
        self.wire.abort(reset=isinstance(stream, RequestStream) and stream.ends_with_the_connection())

    # Reading -----------------------------------------------------------------------------------------------------

    async def _handle_events(self) -> None:
        while not self.wire.closing:
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                await self.send(Closed())
                return
            if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.wire.parked(self.can_read.wait)
            elif self.stream is None:
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
                await self._leave_room()
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            elif isinstance(event, Data):
                await self.stream.handle(event)
                await self._leave_room()

    async def _leave_room(self) -> None:
        if self.stream is not None:
            inbox = cast(RequestStream | WebSocketStream, self.stream).inbox
            if inbox.full:
                await self.wire.parked(inbox.room)

    async def _create_stream(self, request: h11.Request) -> None:
        upgrade = connection = b""
        has_length = has_coding = False
        for name, value in request.headers:  # h11 has lower-cased the names
            if name == b"upgrade":
                upgrade = value.strip().lower()
            elif name == b"connection":
                connection += b"," + value.lower()
            elif name == b"content-length":
                has_length = True
            elif name == b"transfer-encoding":
                has_coding = True
        version = request.http_version
        if version == b"2.0" and request.method == b"PRI" and request.target == b"*":
            raise H2ProtocolAssumedError(_PREFACE + self.connection.trailing_data[0])
        if version not in (b"1.1", b"1.0"):
            await self._refuse(505)
            return
        if has_coding and (has_length or version == b"1.0"):
            await self._refuse(400)
            return
        if request.method == b"CONNECT":
            await self._refuse(501)
            return

        wants_upgrade = b"upgrade" in (token.strip() for token in connection.split(b","))
        stream: RequestStream | WebSocketStream
        if upgrade == b"websocket" and wants_upgrade and request.method == b"GET":
            stream = WebSocketStream(self.wire, self, STREAM_ID)
            self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        else:
            stream = RequestStream(self.wire, self, STREAM_ID)
            if self.connection.they_are_waiting_for_100_continue:
                stream.inbox.before_wait = self._continue
        self.stream = stream
        raw = self.config.h11_pass_raw_headers
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=request.headers.raw_items() if raw else list(request.headers),
                http_version=version.decode("ascii"),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.answered += 1
        await self.context.mark_request()

    async def _refuse(self, status: int) -> None:
        await self._send_error_response(status)
        await self.send(Closed())

    async def _continue(self) -> None:
        if self.connection.they_are_waiting_for_100_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    # Writing -----------------------------------------------------------------------------------------------------

    async def stream_send(self, event: StreamEvent) -> None:
        """Put an event of a response on the wire."""
        if isinstance(event, Body):
            await self._write(self._send_or_nothing(h11.Data(data=event.data)))
        elif isinstance(event, EndBody):
            await self._end()
        elif isinstance(event, Response):
            await self._begin(event)
        elif isinstance(event, StreamClosed):
            await self._write(b"")
            await self._maybe_recycle()
        elif isinstance(event, Data):
            await self.wire.write(event.data)

    async def _begin(self, event: Response) -> None:
        headers = list(event.headers)
        has_length = has_date = False
        for name, _ in headers:
            lower = name.lower()
            if lower == b"content-length":
                has_length = True
            elif lower == b"date":
                has_date = True
        ours = self.wire.server.response_headers("h11")
        headers += [header for header in ours if header[0] != b"date"] if has_date else ours
        if event.status_code < 200:  # a WebSocket's 101
            head = h11.InformationalResponse(status_code=event.status_code, headers=headers)
            await self._write(self.connection.send(head))
            return
        if self.wire.server.draining.is_set() or self.answered >= self.config.keep_alive_max_requests:
            headers.append((b"connection", b"close"))
        data = self._send_or_nothing(h11.Response(status_code=event.status_code, headers=headers))
        if has_length:
            self._held = data
        else:
            await self._write(data)

    async def _end(self) -> None:
        await self._write(self._send_or_nothing(h11.EndOfMessage()))

    def _send_or_nothing(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self.connection.send(event)
        except h11.LocalProtocolError:
            # We have answered a malformed body ourselves, and the application answers too: too late.
            if self.connection.their_state is not h11.ERROR:
                raise
            return b""

    async def _write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        await self.wire.write(data)
