"""What HTTP/2 sends of each stream, and how a stream ends: the outgoing half of `_h2`.

This file owns the flow control of responses and what becomes of a stream that goes wrong. Who sends is one task for the
connection, in the order of `priority`. It is cancelled with the connection when a drain cuts it, and then a last
answer, which is shielded, sends itself: it waited for that task, and with it the server's stop for `send_timeout`. It
must not know what is received.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, cast

import h2.exceptions
import trio
from h2.errors import ErrorCodes
from hypercorn.events import Updated
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from priority.priority import MissingStreamError

from ._application import ANSWER_SECONDS
from ._fields import http2_fields
from ._http_stream import RequestStream
from ._outflow import Outflow
from ._state import log
from ._ws_stream import WebSocketStream

if TYPE_CHECKING:
    from ._connection import Connection


class Sending(H2Protocol):
    """The outgoing half of one connection."""

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
        self._cut_off = False  # the connection's tasks are cancelled: nobody reads windows, nobody sends what waits

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
        if self._cut_off:
            buffer.add(getattr(event, "data", b""))
            await self._send_rest(stream_id, buffer)
        elif buffer.ended:
            await self._wait(stream_id, buffer, buffer.finished.wait)
        elif buffer.add(cast(Body, event).data):
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await self._wait(stream_id, buffer, buffer.room)

    async def _wait(self, stream_id: int, buffer: Outflow, wait: Callable[[], Awaitable[None]]) -> None:
        stream = self.streams.get(stream_id)
        timeout = self.wire.server.send_timeout if stream is None else stream.link.send_timeout
        buffer.patience = inf if timeout is None else timeout
        with trio.CancelScope(deadline=trio.current_time() + buffer.patience) as scope:
            buffer.waiting.add(scope)
            try:
                await wait()
            finally:
                buffer.waiting.discard(scope)
        if scope.cancelled_caught:
            log.info("reset stream %d of %s: it took nothing for %g s", stream_id, self.client, buffer.patience)
            self._reset(stream_id, ErrorCodes.CANCEL)
            await self._drop(stream_id)

    async def send_task(self) -> None:
        """Send what waits, in the order of priority, until the connection is closed or cancelled."""
        try:
            await super().send_task()
        except trio.Cancelled:
            # A last answer is shielded, and waits for this task: from now on each sender sends its own.
            self._cut_off = True
            with trio.move_on_after(ANSWER_SECONDS, shield=True):
                for stream_id, buffer in list(self.stream_buffers.items()):
                    await self._send_rest(stream_id, buffer)
            raise

    async def _send_rest(self, stream_id: int, buffer: Outflow) -> None:
        """Send what the windows allow. They will not open any more, so a response that needs more is cut."""
        left = -1
        while left != len(buffer.buffer) and not buffer.finished.is_set():
            left = len(buffer.buffer)
            await self._send_data(stream_id)
        if buffer.buffer:
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

    # The end of a stream ------------------------------------------------------------------------------------------

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
