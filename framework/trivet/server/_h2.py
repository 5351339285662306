"""HTTP/2 for a guarded connection: hypercorn's `H2Protocol`, made safe.

This file owns flow control in both directions and what becomes of a stream that goes wrong. The framing is h2's, the
order of streams is `priority`'s. What it changes:

- A request whose pseudo-headers cannot be read, and CONNECT without `:protocol`, cost an answer; they ended the server.
- DATA after an early answer is dropped, and the client is asked to stop (RST_STREAM with NO_ERROR, RFC 9113 section
  8.1); it ended the server.
- The window of a stream opens when the application reads, so that an unread upload stops itself; it blocked all
  streams of its connection.
- A window of zero stops the application; it let it fill memory without bound.
- A stream on which nothing moves for `send_timeout` is reset, as is one whose response cannot be completed; the client
  waited for ever.
- Streams of a client that has left are released, blocked in `send` or not.
- During a drain new streams are refused with REFUSED_STREAM: the client may send them again elsewhere.
- A client that opens and resets streams faster than their applications end (CVE-2023-44487) is disconnected.

What remains: one WebSocket that does not read (RFC 8441) stops the reader of its connection, and a head that h2 finds
malformed costs the connection, not the stream. A proxy that speaks HTTP/1.1 to us is the better place for HTTP/2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, cast

import h2.events
import h2.exceptions
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.utils import filter_pseudo_headers
from priority.priority import DuplicateStreamError, MissingStreamError

from ._fields import http2_fields
from ._http_stream import RequestStream
from ._outflow import Outflow
from ._state import log
from ._ws_stream import WebSocketStream

if TYPE_CHECKING:
    from ._connection import Connection


class HTTP2(H2Protocol):
    """The HTTP/2 side of one connection."""

    shielded = True
    """The bytes of all streams share the connection: no stream's cancellation may interrupt them."""

    streams: dict[int, RequestStream | WebSocketStream]  # type: ignore[assignment]
    stream_buffers: dict[int, Outflow]  # type: ignore[assignment]

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

    def abort(self, stream: RequestStream | WebSocketStream) -> None:
        """Reset the stream; the others go on."""
        self._reset(stream.stream_id, ErrorCodes.INTERNAL_ERROR)
        self.wire.spawn(self._drop, stream.stream_id)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self.connection.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            pass  # closed already, by either side

    async def _drop(self, stream_id: int) -> None:
        """Forget a stream that was reset, by either side, and let its sender go."""
        self._release(stream_id)
        await self._close_stream(stream_id)
        await self._flush()
        await self.send(Updated(idle=self.idle))

    def _release(self, stream_id: int) -> None:
        buffer = self.stream_buffers.pop(stream_id, None)
        if buffer is not None:
            buffer.release()
            try:
                self.priority.remove_stream(stream_id)
            except MissingStreamError:
                pass

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
            if stream.inbox.full:
                await self.wire.parked(stream.inbox.room)
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

    # Writing -----------------------------------------------------------------------------------------------------

    async def stream_send(self, event: StreamEvent) -> None:
        """Put an event of a response on its way."""
        if isinstance(event, (Body, Data, EndBody, EndData)):
            await self._send_body(event)
        elif isinstance(event, Response):
            await self._begin(event)
        elif isinstance(event, StreamClosed):
            if not self._closed_by_both(event.stream_id):
                self._reset(event.stream_id, ErrorCodes.NO_ERROR)
            await self._drop(event.stream_id)
        else:
            await super().stream_send(event)

    def _closed_by_both(self, stream_id: int) -> bool:
        state = self.connection.streams.get(stream_id)
        return state is None or state.closed

    async def _begin(self, event: Response) -> None:
        ours = self.wire.server.response_headers("h2")
        headers = http2_fields(event.status_code, event.headers, ours)
        try:
            self.connection.send_headers(event.stream_id, cast(Any, headers))
        except h2.exceptions.ProtocolError:
            if not self._closed_by_both(event.stream_id):
                self._reset(event.stream_id, ErrorCodes.INTERNAL_ERROR)
        await self._flush()

    async def _send_body(self, event: StreamEvent) -> None:
        """Hand a part of a body over; wait for room, or for the last of it to be gone, while something moves."""
        stream_id = event.stream_id
        buffer = self.stream_buffers.get(stream_id)
        if buffer is None:
            await trio.lowlevel.checkpoint()
            return
        self.priority.unblock(stream_id)
        await self.has_data.set()
        if isinstance(event, (EndBody, EndData)):
            buffer.set_complete()
            await self._wait(stream_id, buffer, buffer.finished.wait)
        elif buffer.add(cast(Body, event).data):
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await self._wait(stream_id, buffer, buffer.room)

    async def _wait(self, stream_id: int, buffer: Outflow, wait: Callable[[], Awaitable[None]]) -> None:
        stream = self.streams.get(stream_id)
        timeout = self.wire.server.send_timeout if stream is None else stream.link.send_timeout
        buffer.patience = inf if timeout is None else timeout
        with trio.CancelScope(deadline=trio.current_time() + buffer.patience) as buffer.scope:
            await wait()
        if buffer.scope.cancelled_caught:
            log.info("reset stream %d of %s: it took nothing for %g s", stream_id, self.client, buffer.patience)
            self._reset(stream_id, ErrorCodes.CANCEL)
            await self._drop(stream_id)

    async def _send_data(self, stream_id: int) -> None:
        """Send what the windows allow of one stream: the step of hypercorn's sending task."""
        buffer = self.stream_buffers.get(stream_id)
        if buffer is None:
            self.priority.remove_stream(stream_id)
            return
        try:
            window = self.connection.local_flow_control_window(stream_id)
            data = buffer.take(max(0, min(window, self.connection.max_outbound_frame_size)))
            if data:
                self.connection.send_data(stream_id, data, end_stream=buffer.complete)
            elif buffer.complete:
                self.connection.end_stream(stream_id)
            else:
                self.priority.block(stream_id)
                return
            if buffer.complete:
                self._release(stream_id)
        except h2.exceptions.ProtocolError:
            self._release(stream_id)  # closed meanwhile by the other side
        await self._flush()
