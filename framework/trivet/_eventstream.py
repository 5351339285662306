"""Server-sent events as a response, and what an application is given to send them with.

This file owns what may be said about such a stream when it is made: its source, its heartbeat, and what becomes of a
client that is slow. How that is done is `_eventsink`'s.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeVar

from ._options import ON_DRAIN, OnDrain
from ._response_head import Field
from ._slow import POLICIES, Policy
from ._stream import Stream, checked_source

Choice = TypeVar("Choice", bound=str)

HEARTBEAT: Final = 15.0
"""Seconds; axum's `KeepAlive`, and FastAPI's. Proxies give an idle connection up after 60 (nginx's
`proxy_read_timeout`, an AWS load balancer)."""

BUFFER: Final = 64
"""Events that may wait for a slow client: of a few hundred bytes each, and thousands of clients, some 100 MB."""

_FIELDS: Final[tuple[Field, ...]] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would collect events until its buffer is full
)


class EventSink(Protocol):
    """Where the source of an `EventStream` writes."""

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that this client has seen, if it comes back; of a browser's `EventSource`."""
        ...

    @property
    def dropped(self) -> int:
        """Events that this client has not had and never will, because it was slow."""
        ...

    @property
    def waiting(self) -> int:
        """Events that wait for this client, because it is slow."""
        ...

    async def send(self, event: object) -> None:
        """Send an event; what is no `Event` is the data of one. Several tasks may do so at a time.

        With `slow="block"` the event has been handed to the server when this returns, which waits as long as the client
        reads no faster. Otherwise it waits for nothing.

        Raises:
            ClientDisconnected: the client left, or stopped reading for `send_timeout`; with `slow="disconnect"` also:
                it is too far behind.
            TypeError, ValueError, ResponseError: it cannot be written as an event; see `Event`.

        Cancellation: a checkpoint. With `slow="block"` a part of the event may have been sent: the stream cannot go on
        then, and the next `send` raises `ResponseError`. Otherwise the event is not sent.
        """
        ...


class EventStream(Stream):
    """Server-sent events: what a page reads with `new EventSource(url)`.

    The source is an async function that is given an `EventSink`, or an async iterable of events; as for `Stream`, it
    runs in the request's task, is stopped when the client leaves, and is not run for HEAD. When it is over the response
    ends, and the client comes back for more: return `None` (204) from the handler to send it away for good.

    While the server drains the stream ends, and the client is told to come back in a moment, each in its own: it finds
    another server, or this one's successor.

    Args:
        source: `async def feed(sink: EventSink) -> None`, or an async iterable; what is no `Event` is the data of one.
        headers: more header fields. `Cache-Control: no-cache` and `X-Accel-Buffering: no` are set already.
        heartbeat: seconds of silence after which a comment is sent, so that nobody between takes the connection for
            dead, and so that a client that is gone is noticed; `None`: never.
        slow: what becomes of an event when the client has not read those before it. `"block"`: `send` waits, and a
            client that reads nothing for `send_timeout` is disconnected. `"drop_oldest"`, `"drop_new"`: the oldest of
            the events that wait, or this one, is lost. `"disconnect"`: the client is; it comes back.
        buffer: how many events may wait, unless `send` does.
        on_drain: `"cancel"`: the source is stopped as soon as the server drains. `"finish"`: it may go on for
            `drain_timeout`, and ends by itself; see `request.draining`.

    Raises:
        TypeError: as `Stream`; `heartbeat` or `buffer` is no number.
        ValueError: `heartbeat`, `slow`, `buffer` or `on_drain` has a value that it cannot have; or as `Response`.
    """

    __slots__ = ("buffer", "heartbeat", "on_drain", "slow")

    heartbeat: float | None
    slow: Policy
    buffer: int
    on_drain: OnDrain

    def __init__(
        self,
        source: Callable[[EventSink], Awaitable[object]] | AsyncIterable[object],
        *,
        headers: Mapping[str, str] | None = None,
        heartbeat: float | None = HEARTBEAT,
        slow: Policy = "block",
        buffer: int = BUFFER,
        on_drain: OnDrain = ON_DRAIN,
    ) -> None:
        super().__init__(checked_source(source, "EventStream", "EventSink"))
        self.headers.raw[:] = _FIELDS
        if headers is not None:
            self._update(headers)
        self.heartbeat = _checked_heartbeat(heartbeat)
        self.slow = _checked_choice("slow", slow, POLICIES)
        self.buffer = _checked_buffer(buffer)
        self.on_drain = _checked_choice("on_drain", on_drain, ("cancel", "finish"))


def _checked_heartbeat(heartbeat: object) -> float | None:
    if heartbeat is None:
        return None
    if not isinstance(heartbeat, int | float) or isinstance(heartbeat, bool):
        raise TypeError(
            f"the heartbeat of an EventStream is seconds, not {type(heartbeat).__name__}.\n"
            "Write  EventStream(feed, heartbeat=15), or heartbeat=None for none"
        )
    if not (math.isfinite(heartbeat) and heartbeat > 0):
        raise ValueError(
            f"the heartbeat of an EventStream is seconds of silence, more than none: not {heartbeat!r}.\n"
            "For no heartbeat:  EventStream(feed, heartbeat=None)"
        )
    return heartbeat


def _checked_buffer(buffer: object) -> int:
    if not isinstance(buffer, int) or isinstance(buffer, bool):
        raise TypeError(
            f"the buffer of an EventStream is a number of events, not {type(buffer).__name__}.\n"
            'Write  EventStream(feed, slow="drop_oldest", buffer=64)'
        )
    if buffer < 1:
        raise ValueError(
            f"the buffer of an EventStream holds one event at least, not {buffer}.\n"
            'For no buffer at all, let `send` wait:  EventStream(feed, slow="block")'
        )
    return buffer


def _checked_choice(name: str, value: Choice, choices: tuple[Choice, ...]) -> Choice:
    if value not in choices:
        known = ", ".join(f'"{choice}"' for choice in choices)
        raise ValueError(
            f"{name}={value!r} is nothing that an EventStream can do.\n"
            f'It is one of {known}:  EventStream(feed, {name}="{choices[0]}")'
        )
    return value
