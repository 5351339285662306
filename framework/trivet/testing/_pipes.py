"""The two halves of an in-memory connection: messages up to the application, the response down to the client.

This file owns one decision: when each side waits for the other (back-pressure), and in what order things are
seen. It knows neither the application nor the test, and no rule of ASGI but the shape of the three messages
that `receive` returns.

Nothing here starts a task, and every wait can be cancelled without losing or repeating a message.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import trio

from trivet.asgi import Message, RawHeaders

__all__ = ["CHUNK", "WINDOW", "Download", "End", "Upload"]

CHUNK: Final = 64 * 1024
"""Bytes of request body in one `http.request` message: what hypercorn reads from a socket at a time."""

WINDOW: Final = 64 * 1024
"""Bytes of response that may be on their way before `send` waits: a socket's buffer before it grows."""

End = Literal["open", "complete", "truncated"]


class Upload:
    """What the application's `receive` returns.

    Args:
        capacity: messages that may wait to be received before `put` waits.
        latched: whether `http.disconnect` is repeated at each further `receive`, as ASGI has it; stock
            hypercorn reports it once and leaves the next `receive` waiting for ever.
    """

    def __init__(self, capacity: int, *, latched: bool) -> None:
        self._capacity = capacity
        self._latched = latched
        self._messages: deque[Message] = deque()
        # What put() and take() wait for: any change at all. A connection has two tasks, so that waking both
        # is cheap.
        self._changed = trio.lowlevel.ParkingLot()
        # No body is taken up any more: the response is over or the client has left.
        self._shut = False

    async def put(self, data: bytes, more: bool) -> bool:
        """Hand up a part of the body; wait until there is room.

        Returns:
            False when nobody wants it any more; a real client's bytes are lost in the same way.
        """
        await trio.lowlevel.checkpoint()
        while len(self._messages) >= self._capacity and not self._shut:
            await self._changed.park()
        if self._shut:
            return False
        self._add({"type": "http.request", "body": data, "more_body": more})
        return True

    def shut(self) -> None:
        """Take no more of the body; what waits to be received stays."""
        self._shut = True
        self._changed.unpark_all()

    def disconnect(self) -> None:
        """Put `http.disconnect` behind what waits to be received; the first call counts."""
        if not self._shut:
            self.shut()
            self._add({"type": "http.disconnect"})

    async def disconnect_when_room(self) -> None:
        """Like `disconnect`, as stock hypercorn does it at the end of a response: wait for room.

        It waits for ever when the application, whose task this is, has left more messages unread than there
        is room for (the early-answer deadlock).
        """
        if self._shut:
            return
        self.shut()
        while len(self._messages) >= self._capacity:
            await self._changed.park()
        self._add({"type": "http.disconnect"})

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        self._changed.unpark_all()

    async def take(self) -> Message:
        """The application's `receive`."""
        await trio.lowlevel.checkpoint()
        while not self._messages:
            await self._changed.park()
        message = self._messages[0]
        if message["type"] != "http.disconnect" or not self._latched:
            self._messages.popleft()
            self._changed.unpark_all()
        return message


class Download:
    """The response, from the application's `send` to the client that reads it."""

    def __init__(self) -> None:
        self.head: tuple[int, RawHeaders] | None = None
        self.end: End = "open"
        # False: the client has stopped reading, nothing fits any more.
        self.reading = True
        # How often the client took something: what progress is measured by.
        self.taken = 0
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._changed = trio.lowlevel.ParkingLot()

    # --- the application's side

    def start(self, status: int, headers: RawHeaders) -> None:
        """The head is on its way."""
        self.head = (status, headers)
        self._changed.unpark_all()

    def add(self, chunk: bytes) -> None:
        """Put a part of the body on its way, whether it fits or not; `wait_progress` is for the waiting."""
        if chunk and self.end == "open":
            self._chunks.append(chunk)
            self._buffered += len(chunk)
            self._changed.unpark_all()

    def finish(self, end: Literal["complete", "truncated"]) -> None:
        """The response is over; the first call counts. A truncated one still delivers what was on its way."""
        if self.end == "open":
            self.end = end
            self._changed.unpark_all()

    @property
    def stalled(self) -> bool:
        """Whether a write would have to wait for the client."""
        return not self.reading or self._buffered > WINDOW

    async def wait_progress(self) -> None:
        """Return when the client has taken something, or does not hold writes up any more."""
        taken = self.taken
        while self.stalled and self.taken == taken:
            await self._changed.park()

    # --- the client's side

    def read(self, reading: bool) -> None:
        """Start or stop reading."""
        self.reading = reading
        self._changed.unpark_all()

    def discard(self) -> None:
        """The client has left: forget what was on its way and hold no write up."""
        self._chunks.clear()
        self._buffered = 0
        self.reading = True
        self.finish("truncated")
        self._changed.unpark_all()

    async def wait_head(self) -> tuple[int, RawHeaders] | None:
        """The head, or None when the response ended without one."""
        await trio.lowlevel.checkpoint()
        while self.head is None and self.end == "open":
            await self._changed.park()
        return self.head

    async def take(self) -> bytes | None:
        """The next part of the body, as the application sent it; None at the end of either kind."""
        await trio.lowlevel.checkpoint()
        while not self._chunks and self.end == "open":
            await self._changed.park()
        if not self._chunks:
            return None
        chunk = self._chunks.popleft()
        self._buffered -= len(chunk)
        self.taken += 1
        self._changed.unpark_all()
        return chunk
