"""Sends the events of one request: who writes when, what keeps the connection alive, and how the stream ends.

This file owns that events never mix: whoever writes holds the lock, and an event is one write. Three may want to: the
source (or, for a slow client, the task that writes what waits for it), the heartbeat, and the end.
"""

from __future__ import annotations

import random
from typing import Final, final

import trio

from ._event import Event
from ._eventstream import EventStream
from ._request import Request
from ._scope import TooLate, bounded
from ._sink import StreamSink, pour
from ._slow import SlowQueue
from .errors import ClientDisconnected, ResponseError

BEAT: Final = b":\n\n"
"""A comment, the shortest one, and the end of a block that has nothing in it."""

RETRY: Final = 2.0
"""Seconds, about which a client comes back after a drain if the application has not said another time. Browsers take
three to five: time in which whatever is told of here goes by unseen."""

SPREAD: Final = 0.5
"""By how much of that a client comes sooner or later: all at once, they would be the successor's first trouble."""


@final
class LiveEventSink:
    """The sink of an `EventStream`, as a request has it; see `trivet.EventSink`. The rest is for `_respond`."""

    __slots__ = (
        "_idle_since", "_lock", "_midway", "_over", "_queue", "_request", "_retry", "_sink", "_stream", "_written"
    )  # fmt: skip

    def __init__(self, stream: EventStream, request: Request, sink: StreamSink) -> None:
        self._stream = stream
        self._request = request
        self._sink = sink
        self._queue = None if stream.slow == "block" else SlowQueue[bytes](stream.buffer, stream.slow)
        self._lock = trio.Lock()
        self._idle_since = trio.current_time()
        self._midway = False
        self._over = False
        self._retry = RETRY
        self._written = trio.Event()

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that the client has seen.

        Browsers send it as UTF-8, where ASGI's applications read header fields as latin-1.
        """
        seen = self._request.headers.get("last-event-id")
        return seen.encode("latin-1").decode("utf-8", "replace") if seen else None

    @property
    def dropped(self) -> int:
        """Events that were lost."""
        return 0 if self._queue is None else self._queue.dropped

    @property
    def waiting(self) -> int:
        """Events that wait to be written."""
        return 0 if self._queue is None else len(self._queue)

    async def send(self, event: object) -> None:
        """Send an event, or let it wait for a slow client."""
        each = event if isinstance(event, Event) else Event(event)
        if self._over or self._request._gone:
            raise ClientDisconnected("the stream is over" if self._over else "the client left")
        if each.retry is not None:
            self._retry = each.retry
        queue = self._queue
        if queue is None:
            async with self._lock:
                await self._write(each.wire)
            return
        await trio.lowlevel.checkpoint()
        if not queue.overflowed:
            queue.offer(each.wire)
        if queue.overflowed:
            self._request._scope.cancel("disconnected")
            raise ClientDisconnected(f"the client is more than {queue.size} events behind")

    async def run(self) -> None:
        """Run the source to its end, and write all that it sends."""
        try:
            if self._stream.heartbeat is None and self._stream.on_drain == "finish":
                await self._run()
            else:
                await self._request._scope.alongside(self._tend, self._run)
        finally:
            self._over = True  # whoever has kept the sink and sends from elsewhere is told

    def last_words(self) -> bytes | None:
        """What is still to be sent when the source is over, or was stopped; `None`: the stream broke off in an event.

        The clients of a server that drains are told when to come back.
        """
        if self._midway:
            return None
        left = b"" if self._queue is None else b"".join(self._queue.take_all())
        if not self._request.draining.is_set() and self._request._scope.reason != "drained":
            return left
        return left + Event(retry=self._retry * random.uniform(1 - SPREAD, 1 + SPREAD)).wire

    async def _run(self) -> None:
        # Servers hold a head back until the first of its body is there, and a page wants to know that it is connected.
        await self._sink.flush()
        if self._queue is None:
            await self._feed()
        else:
            await self._request._scope.alongside(self._write_queue, self._fill_queue)

    async def _feed(self) -> None:
        items = self._stream.items
        if items is not None:
            self._sink.began = True
            await pour(items, self.send)
        else:
            await self._stream.feed(self)

    async def _fill_queue(self) -> None:
        assert self._queue is not None
        await self._feed()
        self._over = True  # what waits is still written; nothing is added to it
        self._queue.close()
        await self._written.wait()

    async def _write_queue(self) -> None:
        assert self._queue is not None
        try:
            while True:
                await self._queue.ready()
                async with self._lock:  # first, for a drain ends the stream while we wait for it
                    if self._queue:  # what it discards meanwhile, when it overflows, is gone
                        await self._write(self._queue.take())
        except trio.EndOfChannel:
            self._written.set()

    async def _write(self, wire: bytes) -> None:
        """Write an event; whoever calls it holds the lock."""
        if self._midway:
            raise ResponseError(
                "an event stream cannot go on: an earlier send was cancelled, and a part of its event may be out.\n"
                'Let slow clients cost no time instead of cancelling:  EventStream(feed, slow="drop_oldest")'
            )
        self._midway = True
        await self._sink.send(wire)
        self._midway = False
        self._idle_since = trio.current_time()

    async def _tend(self) -> None:
        """Keep the connection alive while nothing is sent, and end the stream when the server drains."""
        heartbeat = self._stream.heartbeat
        end = self._request.draining.wait if self._stream.on_drain == "cancel" else trio.sleep_forever
        patience: float | None = None
        while True:
            idle_since = self._idle_since
            if heartbeat is not None:
                patience = max(0.0, idle_since + heartbeat - trio.current_time())
            try:
                await bounded(patience, end)
            except TooLate:
                async with self._lock:
                    if self._idle_since == idle_since:
                        await self._write(BEAT)
                continue
            async with self._lock:  # what is being written is written to its end
                self._request._scope.cancel("drained")
            return
