"""HTTP/2 for a guarded connection: hypercorn's `H2Protocol`, made safe.

This file owns what becomes of what is received; what is sent is `_h2_sending`'s. The framing is h2's, the order of
streams is `priority`'s. What the two change:

- A request whose pseudo-headers cannot be read, and CONNECT without `:protocol`, cost an answer; they ended the server.
- DATA after an early answer is dropped, and the client is asked to stop (RST_STREAM with NO_ERROR, RFC 9113 section
  8.1); it ended the server.
- The window of a stream opens when the application reads, so that an unread upload stops itself, and so does an unread
  WebSocket (RFC 8441); it blocked all streams of its connection, and itself, if what it sent waited for a window.
- A window of zero stops the application; it let it fill memory without bound.
- A stream on which nothing moves for `send_timeout` is reset, as is one whose response cannot be completed; the client
  waited for ever.
- Streams of a client that has left are released, blocked in `send` or not.
- During a drain new streams are refused with REFUSED_STREAM: the client may send them again elsewhere.
- A client that opens and resets streams faster than their applications end (CVE-2023-44487) is disconnected.

What remains: all uploads of a connection share its window of 64 KiB, so that what is unread of one holds up the others,
and a head that h2 finds malformed costs the connection, not the stream. A proxy that speaks HTTP/1.1 to us is the
better place for HTTP/2.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import Body, EndBody, Request
from hypercorn.utils import filter_pseudo_headers
from priority.priority import DuplicateStreamError

from ._h2_sending import Sending
from ._http_stream import RequestStream
from ._outflow import Outflow
from ._ws_stream import WebSocketStream


class HTTP2(Sending):
    """The HTTP/2 side of one connection."""

    @property
    def unread(self) -> bool:
        """See `HTTPProtocol.unread`."""
        return True

    async def handle(self, event: Event) -> None:
        """See `HTTPProtocol.handle`."""
        await super().handle(event)
        if isinstance(event, Closed):
            for stream_id in list(self.stream_buffers):
                self._release(stream_id)

    async def farewell(self) -> None:
        """GOAWAY, which says which requests were seen (RFC 9113 section 6.8)."""
        try:
            self.connection.close_connection()
        except h2.exceptions.ProtocolError:
            return
        await self._flush()

    # Reading -----------------------------------------------------------------------------------------------------

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                await self._data(event)
            elif isinstance(event, h2.events.RequestReceived):
                await self._request(event)
            elif isinstance(event, h2.events.StreamEnded):
                stream = self.streams.get(event.stream_id)
                if stream is not None:
                    await stream.handle(EndBody(stream_id=event.stream_id))
            elif isinstance(event, h2.events.StreamReset):
                await self._drop(event.stream_id)
            elif isinstance(event, h2.events.WindowUpdated):
                await self._window_updated(event.stream_id)
            elif isinstance(event, h2.events.PriorityUpdated):
                await self._priority_updated(event)
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
                    await self._window_updated(None)
            elif isinstance(event, h2.events.ConnectionTerminated):
                await self.send(Closed())
        await self._flush()

    async def _data(self, event: h2.events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        data = event.data or b""
        length = event.flow_controlled_length or 0
        if isinstance(stream, RequestStream) and not stream.closed:
            await stream.handle(Body(stream_id=event.stream_id, data=data))
            length -= len(data)  # the rest of it when the application has read it
        elif stream is not None:
            await stream.handle(Body(stream_id=event.stream_id, data=data))
            if isinstance(stream, WebSocketStream) and stream.inbox.full and not stream.closed:
                stream.inbox.owed += length
                length = 0
        if length:
            self._acknowledge(event.stream_id, length)

    def _acknowledge(self, stream_id: int, length: int) -> None:
        try:
            self.connection.acknowledge_received_data(length, stream_id)
        except h2.exceptions.ProtocolError:
            pass  # the connection is closing: no more data is wanted

    async def _application_read(self, stream_id: int, length: int) -> None:
        """Open the stream's window, and the connection's, by what the application has read."""
        self._acknowledge(stream_id, length)
        await self._flush()

    def _messages_read(self, stream_id: int, length: int) -> None:
        """The same for a WebSocket, whose `receive` may not be cancelled between a message and this."""
        self._acknowledge(stream_id, length)
        self.wire.spawn(self._flush)

    async def _request(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id
        if self.context.terminated.is_set():
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        if len(self.wire.running) > 2 * self.config.h2_max_concurrent_streams:
            self.connection.close_connection(error_code=ErrorCodes.ENHANCE_YOUR_CALM)
            await self._flush()
            await self.send(Closed())
            return
        await self._create_stream(event)
        await self.send(Updated(idle=self.idle))

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        stream_id = request.stream_id
        pseudo = {name: value for name, value in cast(Any, request.headers) if name[:1] == b":"}
        method = pseudo.get(b":method", b"").decode("latin-1")
        raw_path = pseudo.get(b":path")
        websocket = method == "CONNECT" and pseudo.get(b":protocol") == b"websocket"
        if not method.isascii():
            await self._refuse(stream_id, 400)
            return
        if method == "CONNECT" and not websocket:
            await self._refuse(stream_id, 501)
            return
        if raw_path is None:
            await self._refuse(stream_id, 400)
            return

        stream = (WebSocketStream if websocket else RequestStream)(self.wire, self, stream_id)
        if isinstance(stream, RequestStream):
            stream.inbox.taken = partial(self._application_read, stream_id)
            stream.inbox.given_up = partial(self._acknowledge, stream_id)  # sent with what ends the stream
        else:
            stream.inbox.taken = partial(self._messages_read, stream_id)
        self.streams[stream_id] = stream
        self.stream_buffers[stream_id] = Outflow()
        try:
            self.priority.insert_stream(stream_id)
        except DuplicateStreamError:
            pass  # a PRIORITY frame came before HEADERS
        else:
            self.priority.block(stream_id)
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(cast(Any, request.headers)),
                http_version="2",
                method=method,
                raw_path=raw_path,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def _refuse(self, stream_id: int, status: int) -> None:
        """Answer a request that has no stream of ours."""
        headers = [(b":status", b"%d" % status), (b"content-length", b"0")]
        try:
            self.connection.send_headers(stream_id, headers, end_stream=True)
        except h2.exceptions.ProtocolError:
            self._reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
        await self._flush()
