"""One direction of an in-memory WebSocket: messages, in order, and an end behind them.

This file owns one decision: when the sending side waits for the receiving one (back-pressure). It knows neither ASGI
nor who is at its ends. Nothing here starts a task, and every wait can be cancelled without losing a message.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

__all__ = ["MessagePipe"]

T = TypeVar("T")


class MessagePipe(Generic[T]):
    """Messages on their way.

    Args:
        messages: how many may wait before the pipe is full.
        size: how many bytes.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._messages = messages
        self._size = size
        self._waiting: deque[tuple[T, int]] = deque()
        self._held = 0
        # How many the receiving side has taken: what progress is measured by.
        self._taken = 0
        # False: nobody reads, nothing fits any more.
        self.reading = True
        # Nothing is added any more; what waits may still be taken.
        self.ended = False
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def full(self) -> bool:
        """Whether who has added something should wait."""
        over = len(self._waiting) >= self._messages or self._held > self._size
        return not self.ended and (not self.reading or over)

    @property
    def blocked(self) -> bool:
        """Whether it is full of what was added before: the next one cannot even begin."""
        return self.full and bool(self._waiting)

    def add(self, message: T, size: int) -> None:
        """Put a message on its way, whether it fits or not."""
        if not self.ended:
            self._waiting.append((message, size))
            self._held += size
            self._changed.unpark_all()

    async def room(self) -> None:
        """Return when it is not full."""
        await trio.lowlevel.checkpoint()
        while self.full:
            await self._changed.park()

    async def progress(self) -> None:
        """Return when something was taken, or it is not full."""
        taken = self._taken
        while self.full and self._taken == taken:
            await self._changed.park()

    async def take(self) -> T | None:
        """The next message; `None`: there is none any more."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self.ended:
                return None
            await self._changed.park()
        message, size = self._waiting.popleft()
        self._held -= size
        self._taken += 1
        self._changed.unpark_all()
        return message

    def read(self, reading: bool) -> None:
        """Start or stop reading."""
        self.reading = reading
        self._changed.unpark_all()

    def end(self, *, discard: bool = False) -> None:
        """Take nothing more; `discard`: and forget what is on its way."""
        self.ended = True
        if discard:
            self._waiting.clear()
            self._held = 0
        self._changed.unpark_all()
