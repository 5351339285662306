"""Server-sent events, read as a browser reads them: `client.events`.

This file owns how the body of a response becomes events (WHATWG HTML 9.2.6, "Interpreting an event stream"), and what a
client keeps of what it was told. httpx-sse is not used: it takes each comment for an event once it has seen an id.
"""

from __future__ import annotations

import codecs
from collections import deque
from types import TracebackType
from typing import Self

import httpx

from trivet import Event

from ._async_with import AsyncWith
from ._exchange import Exchange

__all__ = ["EventParser", "Events"]


class EventParser:
    """Makes events of a body, piece by piece."""

    def __init__(self) -> None:
        self.last_event_id = ""
        """What a client that comes back would say; empty: nothing."""
        self.retry: float | None = None
        """Seconds until it would, if it was told."""
        self.comments: list[str] = []
        """What no page ever sees: the heartbeats too."""
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._line = ""
        self._after_cr = False
        self._start()

    def _start(self) -> None:
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None
        self._retry: float | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in this piece of the body."""
        events: list[Event] = []
        text = self._decode(chunk)
        if text and self._after_cr:
            text, self._after_cr = text.removeprefix("\n"), False
        self._after_cr = self._after_cr or text.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines[0] = self._line + lines[0]
        self._line = lines.pop()
        for line in lines:
            if line:
                self._field(line)
                continue
            if self._id is not None:
                self.last_event_id = self._id
            if self._data:
                data = "\n".join(self._data)
                events.append(Event(data, event=self._event, id=self._id, retry=self._retry))
            self._start()
        return events

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = self._retry = int(value) / 1000


class Events(AsyncWith):
    """An event stream that is being read: `async with client.events(path) as events: async for event in events`.

    It does not come back by itself when the stream is over: that is a test's to do, with `last_event_id`. The end of
    the block is leaving.

    Raises:
        httpx.HTTPStatusError: from `async with`: the status is neither 200 nor 204.
        httpx.DecodingError: from `async with`: what comes is no event stream.
        httpx.RemoteProtocolError: from the iteration, when the response was cut.
    """

    _entered = 'async with client.events("/") as events'

    def __init__(self, exchange: Exchange, request: httpx.Request) -> None:
        self.exchange = exchange
        """The request by hand: `events.exchange.stop_reading()` makes a slow client of this one."""
        self.status = 0
        """204: the client is not to come back, and there are no events."""
        self.headers = httpx.Headers()
        self._request = request
        self._parser = EventParser()
        self._events: deque[Event] = deque()

    async def __aenter__(self) -> Self:
        """Wait for the head of the response."""
        try:
            self.status, self.headers = await self.exchange.head()
            if self.status not in (200, 204):
                body = await self.exchange.read()
                response = httpx.Response(self.status, headers=self.headers, content=body, request=self._request)
                raise httpx.HTTPStatusError(
                    f"{self.status}, where an event stream was expected: {response.text}",
                    request=self._request,
                    response=response,
                )
            kind = self.headers.get("content-type", "")
            if self.status == 200 and kind.partition(";")[0].strip().lower() != "text/event-stream":
                raise httpx.DecodingError(f"{kind!r} is no event stream", request=self._request)
        except BaseException:
            self.exchange.leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave."""
        await self.exchange.__aexit__(kind, error, traceback)

    def __aiter__(self) -> Self:
        """Itself: a stream is read once."""
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Cancellation: no event is lost.
        """
        while not self._events:
            chunk = await self.exchange.receive()
            await self.exchange.read_whole(chunk)
            if chunk is None:
                raise StopAsyncIteration
            self._events += self._parser.feed(chunk)
        return self._events.popleft()

    @property
    def last_event_id(self) -> str:
        """What this client would say in `Last-Event-ID` if it came back; empty: nothing."""
        return self._parser.last_event_id

    @property
    def retry(self) -> float | None:
        """Seconds after which it would, if it was told."""
        return self._parser.retry

    @property
    def comments(self) -> list[str]:
        """The comments so far, heartbeats among them (`""`)."""
        return self._parser.comments

    def leave(self) -> None:
        """Be gone at once."""
        self.exchange.leave()
